"""The network: built, loaded and saved."""
