"""What is measured on one model, whatever its loss: the neutral panel, nearest neighbours, KNN accuracy."""
