"""What is found in a dataset: findings, their registry, and the report."""
