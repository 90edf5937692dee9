"""Figures of sets of pictures, each beside its controls: distances, copies of training pictures."""
