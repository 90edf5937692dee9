"""The training task that is particular to this room."""
