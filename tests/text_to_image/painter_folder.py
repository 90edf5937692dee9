"""A whole served folder of tiny networks, as the stage register puts it together."""

import shutil

from components.engines.base.paths import write_json
from components.engines.scoring.embedder import Embedder
from components.engines.worlds.scenes import describe, scenes
from components.text_to_image.enhancement import write_captions
from components.text_to_image.quantising import quantise
from components.text_to_image.safety import ConceptCheck, PromptCheck, PromptLexicon, red_cross
from components.text_to_image.serve import CLIP, SETTINGS, UPSCALER
from components.text_to_image.super_resolution import SuperResolution, start
from tests.text_to_image.t2i_room import training


def fill(folder, room):
    """A model that has learnt nothing: its student is the teacher, and no picture or prompt looks like a red cross to it."""
    shutil.copytree(room.root / "model", folder, dirs_exist_ok=True)
    shutil.copytree(room.data / "model", folder / CLIP)
    shutil.copytree(room.root / "model/transformer", folder / "optimised/student")
    quantise(room.root / "model/transformer", folder / "optimised/int8")
    upscaler = start(SuperResolution(width=8, depths=(1,), window=4, crop_px=8, training=training()), 16)
    upscaler.network.save_pretrained(folder / UPSCALER)
    write_json(folder / UPSCALER / "upscaling.json", {"residual": True})
    embedder = Embedder.load(folder / CLIP)
    concept = red_cross(("plain",)).as_dict() | {"image_threshold": 2.0, "text_threshold": 2.0}
    captions = [describe(scene, number) for number, scene in enumerate(scenes(held_out=False, textures=("plain",)))]
    check = PromptCheck(PromptLexicon(), ConceptCheck(embedder, []))
    write_captions(folder, captions, embedder, check.refusals)
    networks = {
        "student": {"folder": "optimised/student", "steps": 2, "guidance": 1.0},
        "int8": {"folder": "optimised/int8", "steps": 3, "guidance": 2.0},
        "teacher": {"folder": None, "steps": 3, "guidance": 2.0},
    }
    settings = {
        "networks": networks, "default": "student", "negative": "teacher", "max_tokens": 20, "max_prompt_chars": 200,
        "num_nearest": 4, "extra_words": {"hate": ["grumpy words"]}, "concepts": [concept],
    }  # fmt: skip
    write_json(folder / SETTINGS, settings)
    return folder
