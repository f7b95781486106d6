"""A double of Replicate's training API."""
