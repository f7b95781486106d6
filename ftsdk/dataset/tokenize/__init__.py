"""Chat templates, rendering, and token counts."""
