"""The encoders."""
