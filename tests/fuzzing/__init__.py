"""Hostile inputs by chance, seeded: short in the suite, long by argument."""
