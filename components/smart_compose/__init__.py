"""smart_compose: mails to a suggestion while one types.

Task: say which words come next behind what is typed, where the model is sure enough; be silent elsewhere.
Papers: Chen et al. 2019 (Gmail Smart Compose, arXiv:1906.00080); Radford et al. 2019 (GPT-2); Vaswani et al. 2017 (sines and
cosines); Su et al. 2021 (RoPE, arXiv:2104.09864).
Data: mails (mbox, maildir, eml, TXT, tables, `hf://`), or the sample world of `world/`.
Metrics: perplexity beside that of the grammar and of token frequencies, ExactMatch@N, coverage and precision, keystrokes saved.
Stages: ingest -> scrub -> validate -> tokenizer -> train -> calibrate -> evaluate -> register.
"""
