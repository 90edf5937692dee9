"""Text to video: from clips as people have them to a promoted video generator.

Task: a short clip that shows what a prompt says, and moves as it says. Data pipeline: clips decoded in bounded memory, cut into
shots, filtered by stored scores, captioned, encoded once. Training: a video autoencoder, a denoiser of its latents on pictures
(videos of one frame), then on pictures and videos together; spatial and temporal super-resolution.
Papers: Wan team 2025 (arXiv 2503.20314: autoencoder and DiT), Lipman et al. 2022 (arXiv 2210.02747, flow matching), Ma et al.
2024 (arXiv 2401.03048, Latte), Ho et al. 2022 (arXiv 2204.03458, joint training on pictures; 2210.02303, cascades),
Unterthiner et al. 2018 (arXiv 1812.01717, FVD), Ho & Salimans 2022 (arXiv 2207.12598, guidance).
Data: mp4, mkv, webm, gif … in tables, folders, WebDataset tars or `hf://`; or moving scenes whose truth is known.
Metrics: motion and looks by an independent judge, FVD with a 3-D network of our own, frame-wise distances, CLIP similarity over
frames, evenness of motion; each beside shuffled, frozen or repeated frames and real clips.
Stages: ingest -> clean -> filter -> caption -> validate; train_autoencoder -> cache_latents -> pretrain -> finetune;
train_upscaler, train_interpolator, train_judge; evaluate -> register.
"""
