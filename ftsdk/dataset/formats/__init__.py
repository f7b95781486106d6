"""From a record of each format to the canonical row, and back."""
