"""Image captioning, from captioned images to a promoted captioner.

Task: say in a sentence what is in an image. text_to_image writes its training captions anew with the captioner trained here.
Papers: Li et al. 2022 (arXiv 2201.12086, BLIP); Xu et al. 2015 (arXiv 1502.03044, a CNN's grid attended by the decoder);
Dosovitskiy et al. 2020 (arXiv 2010.11929, patches and their positions).
Data: captioned images (tables with paths or bytes, WebDataset tars, Parquet, `hf://`), or the scenes of `engines/worlds`.
Captioners are fine-tuned on curated pairs, so the sample's captions are right here (`wrong_captions: 0`); its files are not.
Metrics: CIDEr-D, BLEU, METEOR, ROUGE-L against all captions of an image, CLIPScore; exact match of the sample's attributes, on
combinations that training saw and on others; the same of shuffled images, of the commonest caption and of a reference.
Stages: ingest -> clean -> validate -> tokenizer -> train -> evaluate -> register.
"""
