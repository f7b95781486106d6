"""What the model sees of each row."""
