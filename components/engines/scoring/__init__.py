"""Metrics as local `evaluate` modules, per-sentence statistics, slices, paired bootstrap."""
