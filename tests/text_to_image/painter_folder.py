"""A whole served folder of tiny networks, as the stage register puts it together."""

import shutil

from components.engines.base.paths import write_json
from components.engines.diffusion.quantization import quantize_weights
from components.engines.safety.concepts import ConceptCheck, PromptCheck
from components.engines.safety.lexicon import PromptLexicon
from components.engines.scoring.embedder import Embedder
from components.engines.super_resolution.stage import fresh_upscaler as start
from components.engines.training.checkpoints.weights import write_tensors
from components.engines.worlds.scenes import ATTRIBUTES, describe, scenes
from components.text_to_image.networks.judge import JudgeNetwork
from components.text_to_image.serve import CLIP, SETTINGS, UPSCALER
from components.text_to_image.serving.enhancement import write_captions
from components.text_to_image.train_upscaler import TrainUpscaler
from components.text_to_image.world.red_cross import red_cross
from tests.text_to_image.small import training


def fill(folder, room):
    """A model that has learnt nothing: its student is the teacher, and no picture or prompt looks like a red cross to it."""
    shutil.copytree(room.data / "model", folder, dirs_exist_ok=True)
    shutil.copytree(room.at("data/clip/model"), folder / CLIP)
    shutil.copytree(room.data / "model/transformer", folder / "optimised/student")
    quantize_weights(room.data / "model/transformer", folder / "optimised/int8")
    upscaler = start(TrainUpscaler(width=8, depths=(1,), window=4, crop_px=8, training=training()), 16)
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


def fill_for_evaluation(folder, room):
    """The same, with a judge that knows nothing, as the stage evaluate reads it."""
    fill(folder, room)
    write_json(folder / "optimised/student/student.json", {"sampler": "ddim", "steps": 2, "guidance": 1.0})
    (folder / "judge").mkdir()
    write_tensors(folder / "judge/model.safetensors", JudgeNetwork(8, 16).state_dict())
    known = {name: list(values) for name, values in ATTRIBUTES.items()}
    write_json(folder / "judge/config.json", {"attributes": known, "image_px": 16, "width": 8})
    return folder


def parts_of(folder):
    """What the stage evaluate reads of such a folder, by name."""
    places = {"student": "optimised/student", "quantized": "optimised/int8"}
    return {name: folder / places.get(name, name) for name in ("student", "quantized", "super_resolution", "judge")}
