"""The networks, as text: Keras only, one file a network."""
