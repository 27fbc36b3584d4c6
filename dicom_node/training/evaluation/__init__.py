"""Bundles and unseen films to figures, pictures and cards."""
