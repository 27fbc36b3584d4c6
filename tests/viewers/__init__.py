"""Real viewers open real results."""
