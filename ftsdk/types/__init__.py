"""The records that everything else passes on: specs, jobs, statuses, events, costs, models."""
