"""How an evaluation is computed: subject, plan, cost, cache, progress; in this process or as Ray tasks."""
