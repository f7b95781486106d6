"""Carry a trained model away: as an adapter, merged, as GGUF, for Ollama; each loaded again and compared."""
