"""The shared data types: specs, jobs, statuses, events, costs, plans and models."""
