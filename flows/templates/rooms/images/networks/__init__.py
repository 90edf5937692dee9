"""The network: built from scratch."""
