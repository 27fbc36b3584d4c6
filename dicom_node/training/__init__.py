"""Learning: labelled films to weights, weights to figures. Serving does not need it."""
