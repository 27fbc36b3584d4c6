"""What is taught: one module a lesson, `by_recipe` chooses."""
