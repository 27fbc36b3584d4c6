"""The back door: results to their destinations."""
