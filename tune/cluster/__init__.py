"""Ray itself: start or join a cluster, its nodes and resources, the entry in its dashboard."""
