"""What the sample world has beyond engines/worlds."""
