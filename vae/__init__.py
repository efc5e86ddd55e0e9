"""One variational autoencoder: data, models, losses, training, checkpoints. Imports torch, never Ray."""
