"""Enlargement that is learnt: how pictures are made small, the task, the upscaler."""
