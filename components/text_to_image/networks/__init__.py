"""The judge of the sample world."""
