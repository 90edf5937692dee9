"""Machine translation, from sentence pairs to a promoted model.

Task: translate a sentence of one language into another.
Papers: Vaswani et al. 2017 (arXiv 1706.03762, the encoder–decoder); Lewis et al. 2019 (arXiv 1910.13461, denoising
pretraining); Junczys-Dowmunt et al. 2018 (Marian).
Data: sentence pairs (TSV, CSV, JSONL, Parquet, `hf://`), or the sample grammar of `grammar.py`.
Metrics: BLEU with its sacrebleu signature, chrF, ROUGE, METEOR, exact match, perplexity; agreement on the sample grammar.
Stages: ingest -> clean -> validate -> tokenizer -> pretrain -> finetune -> evaluate -> register.
"""
