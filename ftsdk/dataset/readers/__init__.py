"""From bytes to records: containers, lines, JSON arrays, tables."""
