"""Pictures from prompts: latent diffusion, from noisy captioned images to a promoted generator.

Task: text -> image. An autoencoder makes pictures small, a frozen text encoder reads captions, and a denoiser (diffusion
transformer or U-Net) learns to turn noise into latents that fit the caption.
Papers: Rombach et al. 2022 (arXiv 2112.10752, latent diffusion); Ho et al. 2020 (arXiv 2006.11239, DDPM); Song et al. 2021
(arXiv 2010.02502, DDIM); Ho & Salimans 2022 (arXiv 2207.12598, guidance); Chen et al. 2023 (arXiv 2310.00426, PixArt);
Salimans & Ho 2022 (arXiv 2202.00512, v-prediction).
Data: captioned images (tables with paths or bytes, WebDataset tars, Parquet, `hf://`), or the scenes of `engines/worlds`.
"""
