"""Text to image: from noisy captioned images to a promoted painter of prompts.

Task: paint what a prompt says. Four pipelines: data (relevance filter by CLIP, captions written anew by BLIP, cached latents),
training (latent diffusion: DiT or U-Net over our own autoencoder, classifier-free guidance), model optimisation (few-step
distillation, int8), inference (prompt enhancement, harm detection, sampling, super-resolution).
Papers: Ho et al. 2020 (arXiv 2006.11239), Song et al. 2021 (arXiv 2010.02502, DDIM), Ho & Salimans 2022 (arXiv 2207.12598,
guidance), Rombach et al. 2022 (arXiv 2112.10752), Chen et al. 2023 (arXiv 2310.00426, PixArt), Salimans & Ho 2022
(arXiv 2202.00512, v-prediction and distillation), Radford et al. 2021 (arXiv 2103.00020), Li et al. 2022 (arXiv 2201.12086).
Data: captioned images (tables with paths or bytes, WebDataset tars, Parquet, `hf://`), or the scenes of `engines/worlds`.
Metrics: attributes right by an independent judge, CLIPScore, FID, KID, IS, SWD, each beside noise, shuffled prompts and real
images; precision and recall of the filter; student and int8 against the teacher.
Stages: ingest -> clean -> validate -> filter -> recaption; train_autoencoder, train_text_encoder -> cache_latents -> train
-> distill, quantize; train_upscaler, train_judge; evaluate -> register.
"""
