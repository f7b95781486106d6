"""Compare models on the same rows: their answers, the metrics that score them, and the statistics."""
