"""Autoencoders of images, their task, standardised latents, and the cache that checks itself."""
