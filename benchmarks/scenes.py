"""What the benchmarks of text_to_image work on: painted scenes as the stage `clean` leaves them, and models that learnt nothing.

Speed does not depend on what weights are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOM_CLIP = "default CLIP"
LARGE_CLIP = "CLIP of 4.9 M"
# As params.yaml has the room's images, and what differs from clip's default architecture.
IMAGE_PX, TEXTURES, WRONG_CAPTIONS = 64, ("plain",), 0.3
CLIPS: dict[str, dict[str, int]] = {
    ROOM_CLIP: {},
    LARGE_CLIP: {
        "image_px": IMAGE_PX,
        "vision_width": 256,
        "vision_layers": 8,
        "text_width": 128,
        "text_layers": 4,
        "embedding_dim": 128,
    },
}


def write_scenes(folder: Path, splits: dict[str, int], per_shard: int) -> None:
    """Captioned scenes, so many in each split; every record tells its truth, as in the room."""
    import io

    from PIL import Image

    from components.engines.captioned.dataset import Captioned
    from components.engines.images.decode import encode_png
    from components.engines.images.lookalikes import Print
    from components.engines.shards.manifest import write_manifest
    from components.engines.shards.writer import ShardWriter
    from components.engines.worlds.captioned import draw_records

    shards = []
    for seed, (split, count) in enumerate(splits.items()):
        with ShardWriter(folder, split, per_shard) as writer:
            drawn = draw_records(
                count, px=IMAGE_PX, textures=TEXTURES, seed=seed, wrong_captions=WRONG_CAPTIONS, bad_files=0
            )
            for number, record in enumerate(drawn):
                picture = Image.open(io.BytesIO(record.image)).convert("RGB")
                known = {"width": picture.width, "height": picture.height, "print": Print.of(picture).as_dict()}
                metadata = {"name": record.name, "truth": record.truth, **known}
                made = Captioned(f"{split}{number:08d}", encode_png(picture), record.caption, metadata)
                writer.write(made.to_sample())
        shards += writer.shards
    write_manifest(folder, shards)


def write_clip(folder: Path, scenes: Path, **changes: int) -> int:
    """A CLIPModel as the room clip saves it, of its default architecture but for `changes`; the number of its parameters."""
    from components.clip.architecture import Architecture
    from components.clip.train import start
    from components.engines.base.paths import write_json
    from components.engines.captioned.tokenizer import write_tokenizer
    from components.engines.language.bpe import Vocabulary

    checked, tokenizer = folder.with_name(f"{folder.name}-checked.json"), folder.with_name(f"{folder.name}-tokenizer")
    write_json(checked, {"success": True})
    write_tokenizer(Vocabulary(), None, scenes, checked, tokenizer)
    embedder: Any = start(Architecture(**changes), tokenizer, seed=0)
    embedder.save(folder)
    return sum(parameter.numel() for parameter in embedder.network.parameters())
