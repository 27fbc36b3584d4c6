"""Films as odd senders send them: each a public bug report rebuilt, or a neighbour of one."""
