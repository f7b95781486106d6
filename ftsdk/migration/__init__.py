"""Leave a provider: keep what will be gone."""
