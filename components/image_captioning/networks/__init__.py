"""The captioners from scratch."""
