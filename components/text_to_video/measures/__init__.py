"""What `evaluate` computes and shows."""
