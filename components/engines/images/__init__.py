"""Pictures as pixels: tensors and back, stored on disk, grids to look at."""
