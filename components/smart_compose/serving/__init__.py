"""The parts of the inference pipeline: when to suggest, what, and how it is finished."""
