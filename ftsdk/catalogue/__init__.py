"""What providers charge and when models retire: one dated catalogue, and what follows from it."""
