"""The wire, shared by both doors: contexts, statuses, entities, TLS, guard."""
