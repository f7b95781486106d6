"""Download and unpack model files safely."""
