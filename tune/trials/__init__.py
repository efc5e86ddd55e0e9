"""What runs in a worker: one trial, its data, its checkpoints and its errors."""
