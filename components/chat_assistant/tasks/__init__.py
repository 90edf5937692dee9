"""One training task a file, and what they read."""
