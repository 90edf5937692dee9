"""SYSTEM: lines of text, from raw to a promoted language model.

Task: say which token comes next; a text is continued.
Papers: Radford et al. 2019 (GPT-2, a decoder-only transformer).
Data: lines of text (TXT, CSV, JSONL, Parquet, `hf://`), or the sample world of `world/`.
Metrics: perplexity beside that of token frequencies alone.
Stages: ingest -> clean -> validate -> tokenizer -> train -> evaluate -> register.
"""
