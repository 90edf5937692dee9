"""Parts of the inference pipeline."""
