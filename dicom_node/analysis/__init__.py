"""Thinking: a film to findings, with the place that speaks for them."""
