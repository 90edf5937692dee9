"""Finding chunks again: vectors, words, a graph of what is told of what; who may read what; what changed since last time."""
