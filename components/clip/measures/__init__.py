"""What `evaluate` computes."""
