"""What the model reads and learns."""
