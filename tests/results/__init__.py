"""Result objects: valid, readable, about the right patient, in the right place."""
