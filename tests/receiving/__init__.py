"""The front door: what it takes, what it refuses, and whom it does not wait for."""
