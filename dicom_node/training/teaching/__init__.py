"""Recipes and labelled films to weights and bundles."""
