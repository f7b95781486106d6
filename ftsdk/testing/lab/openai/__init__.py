"""A double of OpenAI's fine-tuning API."""
