"""From stored bytes to a film as a display shows it: header, pixels, grey scale, preparation."""
