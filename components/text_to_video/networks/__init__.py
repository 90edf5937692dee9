"""What training starts from, and the network that sees motion."""
