"""SYSTEM: pairs of texts, from raw to a promoted sequence-to-sequence model.

Task: write the target text of a pair, given its source text.
Papers: Vaswani et al. 2017 (arXiv 1706.03762, the encoder-decoder); Junczys-Dowmunt et al. 2018 (Marian).
Data: pairs of texts (TSV, CSV, JSONL, Parquet, `hf://`), or the sample world of `world/`.
Metrics: chrF and exact match beside the source copied; perplexity beside that of other pairs' sources and of token frequencies.
Stages: ingest -> clean -> validate -> tokenizer -> train -> evaluate -> register.
"""
