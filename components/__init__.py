"""Rooms (one per generative system) and the engines they share."""
