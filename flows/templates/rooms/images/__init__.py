"""SYSTEM: captioned images, from raw to a promoted captioner.

Task: say in a sentence what is in an image.
Papers: Xu et al. 2015 (arXiv 1502.03044, a CNN's grid attended by the decoder); Li et al. 2022 (arXiv 2201.12086, BLIP).
Data: captioned images (tables with paths or bytes, WebDataset tars, Parquet, `hf://`), or the scenes of `engines/worlds`.
Metrics: perplexity of the captions beside that with the images shuffled; how often the own image makes a caption likelier.
Stages: ingest -> clean -> validate -> tokenizer -> train -> evaluate -> register.
"""
