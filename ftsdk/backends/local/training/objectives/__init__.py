"""What a run minimizes: one module for each training method, all on the same loop."""
