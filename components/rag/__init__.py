"""Answers from documents: scanned or printed pages, read, indexed and searched; grounded answers with citations.

Task: answer a question from a library of documents that the asker may read, and say where the answer stands, or that it
stands nowhere.
Papers: Lewis et al. 2020 (arXiv 2005.11401, retrieval-augmented generation); Zhang et al. 2024 (arXiv 2403.10131, RAFT);
Robertson et al. 1994 (BM25); Malkov and Yashunin 2016 (arXiv 1603.09320, HNSW); Karpukhin et al. 2020 (arXiv 2004.04906, DPR).
Data: PDF, scans, HTML, Markdown, code, text (a folder, or zips), questions as JSONL; or the document printer of `world/`.
Metrics: CER and WER of pages, structure F1 of tables, hit rate, MRR, nDCG, Precision@k, answer EM and F1, right abstention,
citations, leaks of forbidden documents; single searches and a reader without context beside them.
Stages: ingest -> parse -> chunk -> validate -> tokenizer -> train_encoder -> index -> raft_data -> raft -> evaluate -> register.
"""
