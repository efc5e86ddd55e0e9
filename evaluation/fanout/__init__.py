"""Ray's room in this package: the work as Ray tasks, and the start of Ray for all of the project's commands."""
