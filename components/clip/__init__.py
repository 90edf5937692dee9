"""CLIP: how well does a caption fit an image? From noisy captioned images to a promoted scorer.

Task: embed images and texts so that what belongs together lies together; their cosine is the score. Other systems use it, by
a path or model name in their params, to filter captions, and for CLIPScore and retrieval.
Papers: Radford et al. 2021 (arXiv 2103.00020, the contrastive objective); van den Oord et al. 2018 (arXiv 1807.03748, InfoNCE);
Dosovitskiy et al. 2020 (arXiv 2010.11929, the image encoder).
Data: captioned images (tables with paths or bytes, WebDataset tars, Parquet, `hf://`), or the scenes of `engines/worlds`.
Metrics: AUC of right against mismatched captions (any other, one attribute off, unseen combinations), AUC as a filter of
labelled noise, retrieval R@1; a random scorer and shuffled images beside them.
Stages: ingest -> clean -> validate -> tokenizer -> train -> evaluate -> register.
"""
