"""What to try next and which trials to stop: objective, samplers, stopping rules, the Optuna journal."""
