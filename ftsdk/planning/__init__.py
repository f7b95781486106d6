"""Turn the arguments of a job into a checked plan. Sends nothing."""
