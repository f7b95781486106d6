"""A double of Together AI's fine-tuning API."""
