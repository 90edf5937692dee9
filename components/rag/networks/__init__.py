"""The networks: built, loaded and saved."""
