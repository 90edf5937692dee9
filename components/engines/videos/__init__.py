"""Captioned videos: decoding in bounded memory, encoding, shots, signals without a model, buckets, the data set on disk."""
