"""The parts of the inference pipeline."""
