"""From the arguments of a job to a checked plan. Sends nothing."""
