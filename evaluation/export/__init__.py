"""Embeddings for other tools: TensorBoard's projector and Embedding Atlas."""

from evaluation.export.atlas import write_atlas
from evaluation.export.image_sample import sample_images
from evaluation.export.projector import write_projector

__all__ = ["sample_images", "write_atlas", "write_projector"]
