"""A stand-in for an encoder: a vector a text, far from those of others."""

import hashlib

import numpy as np


def embed(texts):
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) for text in texts]
    return np.stack([np.random.default_rng(seed).standard_normal(16) for seed in seeds]).astype(np.float32)
