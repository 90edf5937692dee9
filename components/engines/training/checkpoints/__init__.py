"""What a run leaves behind: checkpoints of its whole state, written in the background, and its final weights."""
