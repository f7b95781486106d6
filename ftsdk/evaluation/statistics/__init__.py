"""Statistics of paired comparisons: tests, intervals, and the number of rows that a claim needs."""
