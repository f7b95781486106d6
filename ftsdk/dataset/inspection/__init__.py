"""Inspection: the tokens of each row as the model is shown them."""
