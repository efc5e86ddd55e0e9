"""Embeddings of images and how good they are: neighbours, KNN accuracy, figures and the report."""
