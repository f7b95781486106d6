"""The durable record of jobs, reservations and leases. Only this package knows SQL."""
