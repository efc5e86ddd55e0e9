"""How good an embedding is: KNN protocols, structure scores, confidence intervals."""

from evaluation.scores.settings import ALL_IMAGES_K10, FEW_SHOT_500, KnnGrid, Setting

__all__ = ["ALL_IMAGES_K10", "FEW_SHOT_500", "KnnGrid", "Setting"]
