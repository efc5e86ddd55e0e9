"""What listens to the search: recorder, progress, dashboard, Prometheus, failures, shutdown."""
