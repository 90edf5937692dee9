"""Captioned images, from any source to clean shards: what every room that learns from them does first, done once."""
