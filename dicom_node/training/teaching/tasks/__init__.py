"""What is taught at once, as Keras models whose losses know which labels a film has."""
