"""How good an embedding is: KNN protocols, structure scores, confidence intervals."""
