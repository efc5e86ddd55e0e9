"""The search space: domains and conditions, the YAML file that states them, how they are displayed."""
