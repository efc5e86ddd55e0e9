"""Ray's room here: the evaluation as Ray tasks, and the start of Ray for all of the project's commands."""
