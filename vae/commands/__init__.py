"""What `python -m vae` does, one command a file."""
