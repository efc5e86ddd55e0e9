"""What is measured on one model, whatever its loss: the neutral panel, nearest neighbours, KNN accuracy."""

from vae.metrics.knn import knn_accuracy, knn_predict
from vae.metrics.neighbors import Neighbors, find_neighbors
from vae.metrics.panel import evaluate_panel
from vae.metrics.unlabelled import UnlabelledScores, rankme
from vae.metrics.validation_knn import ValidationKnn

__all__ = [
    "Neighbors",
    "UnlabelledScores",
    "ValidationKnn",
    "evaluate_panel",
    "find_neighbors",
    "knn_accuracy",
    "knn_predict",
    "rankme",
]
