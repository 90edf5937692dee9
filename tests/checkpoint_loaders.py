"""Every way in which this repository loads a checkpoint that may be somebody else's, each on a tiny one of its kind.

    python -m tests.checkpoint_loaders FOLDER ...

loads, with every loader, what lies in `FOLDER/<its name>`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, T5Config, T5EncoderModel

from components.clip.architecture import Architecture as ClipShape
from components.clip.train import start as start_clip
from components.engines.base.errors import GenworksError
from components.engines.base.paths import write_json
from components.engines.diffusion.conditioning import Conditioner
from components.engines.diffusion.denoiser import build_denoiser, load_denoiser
from components.engines.diffusion.quantization import quantize_weights
from components.engines.diffusion.text_encoders import of_checkpoint, of_clip
from components.engines.latents.autoencoder import load_autoencoder
from components.engines.scoring.perceptual import ClipFeatures
from components.engines.scoring.vgg import VggFeatures, vgg16_layers
from components.engines.super_resolution.interpolator import Interpolator
from components.engines.super_resolution.stage import fresh_upscaler as start_upscaler
from components.engines.super_resolution.upscaler import Upscaler
from components.engines.worlds.scenes import ATTRIBUTES
from components.image_captioning.architecture import Architecture as CaptionerShape
from components.image_captioning.networks import captioner as captioners
from components.image_captioning.train import start as start_captioner
from components.text_to_image.architecture import Architecture
from components.text_to_image.networks.judge import CONFIG, WEIGHTS, Judge, JudgeNetwork
from components.text_to_image.train_autoencoder import start as start_autoencoder
from components.text_to_image.train_upscaler import TrainUpscaler
from components.translation.architecture import Architecture as TranslatorShape
from components.translation.networks import marian as translators
from components.translation.pretrain import start as start_translator
from tests.text_to_image.small import SMALL, make_clip, make_tokenizer, training
from tests.text_to_image.test_t2i_checkpoints import save_pixart, save_stable_diffusion
from tests.text_to_video.test_t2v_checkpoints import save_wan

TINY_TRANSLATOR = {"d_model": 16, "ffn_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "attention_heads": 2}
CAPTIONER = {"image_px": 16, "encoder_width": 16, "text_width": 16, "text_layers": 1, "attention_heads": 2}


@dataclass(frozen=True)
class Loader:
    make: Callable[[Path], Any]
    load: Callable[[Path], Any]  # a module
    part: str = ""  # the folder with the weights, of a checkpoint that has several


def _translator(family: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        tokenizer = make_tokenizer()
        translators.build(TranslatorShape(family=family, **TINY_TRANSLATOR), tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return make


def _captioner(family: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shape, tokenizer = CaptionerShape(family=family, patch_px=8, **CAPTIONER), make_tokenizer()
        captioners.build(shape, tokenizer).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        captioners.build_processor(shape).save_pretrained(folder)

    return make


def _image_encoder(folder: Path) -> None:
    make_clip(folder)  # for its image processor
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**shape, image_size=16, patch_size=8, projection_dim=8)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)


def _t5(folder: Path) -> None:
    tokenizer = make_tokenizer()
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _int8(folder: Path) -> None:
    build_denoiser(SMALL, SMALL.latent_px, 4, 16).save_pretrained(folder / "whole")
    quantize_weights(folder / "whole", folder / "int8")


def _upscaler(folder: Path) -> None:
    params = TrainUpscaler(width=8, depths=(1,), window=4, crop_px=8, training=training())
    start_upscaler(params, 16).network.save_pretrained(folder)


def _vgg(folder: Path) -> None:
    layers = [layer for block in vgg16_layers() for layer in block]
    weights = torch.nn.Sequential(*layers).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({f"features.{name}": weight for name, weight in weights.items()}, folder / "vgg.safetensors")


def _judge(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    attributes = {name: list(values) for name, values in ATTRIBUTES.items()}
    write_json(folder / CONFIG, {"attributes": attributes, "width": 4, "image_px": 16})
    save_file(JudgeNetwork(4, 16).state_dict(), folder / WEIGHTS)


def _quantised(folder: Path) -> Any:
    quantize_weights(folder / "whole", folder / "made")
    return load_denoiser(folder / "made")


def _of(shape: type, **told: Any) -> Callable[[Path], Any]:
    return lambda folder: shape(init_from=str(folder), **told)


LOADERS = {
    "marian": Loader(_translator("marian"), lambda at: start_translator(_of(TranslatorShape)(at), at, 0)[0]),
    "bart": Loader(_translator("bart"), lambda at: start_translator(_of(TranslatorShape)(at), at, 0)[0]),
    "clip": Loader(make_clip, lambda at: start_clip(_of(ClipShape)(at), at, 0).network),
    "clip's features": Loader(make_clip, lambda at: ClipFeatures.load(at).model),
    "image encoder": Loader(_image_encoder, lambda at: ClipFeatures.load(at).model),
    "blip": Loader(_captioner("blip"), lambda at: start_captioner(_of(CaptionerShape)(at), at, 0).network),
    "grid captioner": Loader(_captioner("cnn"), lambda at: start_captioner(_of(CaptionerShape)(at), at, 0).network),
    "clip's text tower": Loader(make_clip, lambda at: of_clip(at, 20).network),
    "t5": Loader(_t5, lambda at: of_checkpoint(str(at), 20).network),
    "text encoder clip": Loader(save_stable_diffusion, lambda at: Conditioner.load(at).network, "text_encoder"),
    "text encoder t5": Loader(save_pixart, lambda at: Conditioner.load(at).network, "text_encoder"),
    "autoencoder": Loader(save_pixart, lambda at: start_autoencoder(_of(Architecture)(at), 0), "vae"),
    "transformer": Loader(save_pixart, lambda at: load_denoiser(at, "transformer"), "transformer"),
    "unet": Loader(save_stable_diffusion, lambda at: load_denoiser(at, "unet"), "unet"),
    "int8": Loader(_int8, lambda at: load_denoiser(at / "int8"), "int8"),
    "quantised": Loader(_int8, _quantised, "whole"),
    "video autoencoder": Loader(save_wan, lambda at: load_autoencoder(at, "vae"), "vae"),
    "video transformer": Loader(save_wan, lambda at: load_denoiser(at, "transformer"), "transformer"),
    "interpolator": Loader(lambda at: Interpolator(4).save(at), Interpolator.load),
    "upscaler": Loader(_upscaler, lambda at: Upscaler.load(at).network),
    "vgg": Loader(_vgg, lambda at: torch.nn.Sequential(*VggFeatures.load(at / "vgg.safetensors").blocks)),
    "judge": Loader(_judge, lambda at: Judge.load(at).network),
}


def main(folder: Path) -> None:
    for name, loader in LOADERS.items():
        try:
            loader.load(folder / name)
            print(f"{name}: loaded")
        except GenworksError as error:
            print(f"{name}: {error}")


if __name__ == "__main__":
    for named in sys.argv[1:]:
        main(Path(named))
