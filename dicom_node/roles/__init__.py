"""Who runs, and how it stops: the only place where the rooms of the line are wired together."""
