"""A room's `train.py` in small, for each kind of loss: what the engine leaves for a room to say."""
