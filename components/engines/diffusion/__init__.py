"""Diffusion on latents, told by texts: the denoiser, its task and inputs, sampling, distillation, 8-bit weights."""
