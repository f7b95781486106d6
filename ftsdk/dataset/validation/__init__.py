"""One pass over the rows, in this process or in several."""
