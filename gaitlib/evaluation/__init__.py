"""Evaluation. This file holds what tables need without importing torch."""

#: False acceptance rates at which results are stated: for pairs of walks, and for probes of people who are not enrolled.
FAR, OPEN_FAR = (0.01, 0.001), (0.1, 0.01)
