"""The relevance filter as one writes it with datasets and transformers: what the benchmark `filtering` compares ours with."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_table(pairs: list[tuple[str, bytes, str]], path: Path) -> None:
    """(key, image file, caption) as Parquet, the images inside, as the hub stores them."""
    from datasets import Dataset, Features, Image, Value

    features = Features({"key": Value("string"), "image": Image(), "caption": Value("string")})
    rows = [{"key": key, "image": {"bytes": image, "path": None}, "caption": caption} for key, image, caption in pairs]
    Dataset.from_list(rows, features=features).to_parquet(str(path))


def score_pairs(table: Path, clip: Path, scores: Path, cache: Path, batch_size: int) -> None:
    """Read the pairs, write the cosine of each (CSV with `key` and `score`).

    `cache` must be a new folder: nothing of an earlier pass is to be found again. The pictures are not written a second time.
    """
    import torch
    from datasets import Dataset
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(clip).eval()
    processor = CLIPProcessor.from_pretrained(clip)
    options = {"padding": True, "truncation": True, "max_length": model.config.text_config.max_position_embeddings}

    def score(batch: dict[str, list[Any]]) -> dict[str, Any]:
        inputs = processor(text=batch["caption"], images=batch["image"], return_tensors="pt", **options)
        with torch.inference_mode():
            output = model(**inputs)  # its embeddings are of length 1
        return {"score": (output.image_embeds * output.text_embeds).sum(1).numpy()}

    pairs = Dataset.from_parquet(str(table), cache_dir=str(cache))
    scored = pairs.map(score, batched=True, batch_size=batch_size, remove_columns=["image", "caption"])
    scored.to_csv(str(scores))
