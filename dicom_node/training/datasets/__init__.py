"""Labelled films: tables, the films that they name, and building both from public sources."""
