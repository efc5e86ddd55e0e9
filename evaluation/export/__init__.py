"""Embeddings for other tools: TensorBoard's projector and Embedding Atlas."""
