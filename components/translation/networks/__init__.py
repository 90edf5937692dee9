"""The encoder-decoders."""
