"""How an evaluation is carried out: plan, cost, cache, progress; in this process or as Ray tasks."""
