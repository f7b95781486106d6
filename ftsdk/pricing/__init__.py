"""Prices, limits and end dates, from one dated catalogue."""
