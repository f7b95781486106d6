"""The memory that training takes, known before a weight is loaded."""
