"""Prices and retirement dates of the providers: one dated catalogue, and estimates from it."""
