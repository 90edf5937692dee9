"""The networks: language model, reward model, safety classifier."""
