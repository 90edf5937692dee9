"""Denoisers: diffusers' networks for pictures and for videos (built in video.py), and the noise that they take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.nn.diffusers_parts import class_of, load_part

FOLDERS = {"dit": "transformer", "unet": "unet"}
_CLASSES = {"dit": "PixArtTransformer2DModel", "unet": "UNet2DConditionModel"}
VIDEO_CLASSES = {
    "wan": "WanTransformer3DModel",
    "latte": "LatteTransformer3DModel",
    "unet3d": "UNet3DConditionModel",
    "cogvideox": "CogVideoXTransformer3DModel",
}
EXPERTS = "ExpertWanTransformer3DModel"  # ours
_PIXART_FACTOR = 8  # pixels a latent stands for in the checkpoints that are told the size of the picture


class DitShape(Params):
    """PixArtTransformer2DModel (Chen et al. 2023, arXiv 2310.00426)."""

    width: Positive = 128
    layers: Positive = 6
    heads: Positive = 4
    patch: Positive = 2


class UnetShape(Params):
    """UNet2DConditionModel (Rombach et al. 2022, arXiv 2112.10752): self- and cross-attention at every resolution."""

    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (48, 96)
    layers: Positive = 1
    head_width: Positive = 48
    norm_groups: Positive = 8


class Noise(Params):
    """How images turn into noise in `timesteps` steps, and what the network predicts: the noise, the velocity between the two
    (Salimans & Ho 2022, arXiv 2202.00512), or the `flow` of straight lines (noising.py), whose levels `shift` moves to noise."""

    schedule: Literal["squaredcos_cap_v2", "linear", "scaled_linear"] = "squaredcos_cap_v2"
    timesteps: Positive = 1000
    prediction: Literal["v_prediction", "epsilon", "flow"] = "v_prediction"
    shift: Annotated[float, Field(gt=0)] = 1.0


class DenoiserShapes(Params):
    """The denoiser is a `dit` or a `unet`, of its shape here; `noise` is what it takes away."""

    network: Literal["dit", "unet"] = "dit"
    dit: DitShape = DitShape()
    unet: UnetShape = UnetShape()
    noise: Noise = Noise()


def build_denoiser(shapes: DenoiserShapes, latent_px: int, latent_channels: int, text_width: int) -> Any:
    """Noisy latents, timesteps, text embeddings [n, tokens, text_width] -> prediction, of the latents' shape."""
    from diffusers import PixArtTransformer2DModel, UNet2DConditionModel

    if shapes.network == "dit":
        dit = shapes.dit
        return PixArtTransformer2DModel(
            num_attention_heads=dit.heads,
            attention_head_dim=dit.width // dit.heads,
            num_layers=dit.layers,
            cross_attention_dim=dit.width,
            caption_channels=text_width,
            in_channels=latent_channels,
            out_channels=latent_channels,
            sample_size=latent_px,
            patch_size=dit.patch,
            num_embeds_ada_norm=shapes.noise.timesteps,
            use_additional_conditions=False,
        )
    unet = shapes.unet
    return UNet2DConditionModel(
        sample_size=latent_px,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * len(unet.widths),
        up_block_types=("CrossAttnUpBlock2D",) * len(unet.widths),
        block_out_channels=unet.widths,
        layers_per_block=unet.layers,
        attention_head_dim=tuple(width // unet.head_width for width in unet.widths),  # diffusers means their number
        cross_attention_dim=text_width,
        norm_num_groups=unet.norm_groups,
    )


def build_scheduler(noise: Noise) -> Any:
    """The noise levels, as a DDIMScheduler or one of flows (any other is made of its config; see sampling.py)."""
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    if noise.prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=noise.timesteps, shift=noise.shift)
    return DDIMScheduler(
        num_train_timesteps=noise.timesteps,
        beta_schedule=noise.schedule,
        prediction_type=noise.prediction,
        clip_sample=False,  # latents know no bounds
        timestep_spacing="trailing",  # sampling begins at pure noise (Lin et al. 2023, arXiv 2305.08891)
        steps_offset=1,
    )


def is_unet(network: Any) -> bool:
    """Whether it is a U-Net, of pictures or of videos."""
    from diffusers import UNet2DConditionModel, UNet3DConditionModel

    return isinstance(network, UNet2DConditionModel | UNet3DConditionModel)


def sees_padding(network: Any) -> bool:
    """Whether it attends to every token of the text, those that pad it too: all do but PixArt, which is given the mask."""
    from diffusers import PixArtTransformer2DModel

    return not isinstance(network, PixArtTransformer2DModel)


def denoise(network: Any, latents: Any, timesteps: Any, embeddings: Any, mask: Any) -> Any:
    """What the network predicts of noisy latents [n, channels, side, side], or [n, channels, frames, height, width].

    A U-Net attends to padding too, as Stable Diffusion's do; the transformer to the tokens of `mask` [n, tokens] alone. Of
    checkpoints that predict variances besides, these are left out.
    """
    if latents.ndim == 5:
        return _denoise_video(network, latents, timesteps, embeddings, mask)
    if is_unet(network):
        return network(latents, timesteps, encoder_hidden_states=embeddings).sample
    output = network(
        latents,
        timestep=timesteps,
        encoder_hidden_states=embeddings,
        encoder_attention_mask=mask,
        added_cond_kwargs=_size_told(network, latents),
    ).sample
    return output[:, : latents.shape[1]]


def _denoise_video(network: Any, latents: Any, timesteps: Any, embeddings: Any, mask: Any) -> Any:
    """Wan and Latte see padding as zeros, as their own pipelines have it; CogVideoX and the U-Net see it as it is embedded."""
    names = [one.__name__ for one in type(network).__mro__]
    if VIDEO_CLASSES["unet3d"] in names:
        return network(latents, timesteps, encoder_hidden_states=embeddings).sample
    if VIDEO_CLASSES["cogvideox"] in names:  # frames before channels
        swapped = latents.transpose(1, 2)
        found = network(hidden_states=swapped, timestep=timesteps, encoder_hidden_states=embeddings).sample
        return found.transpose(1, 2)
    if VIDEO_CLASSES["latte"] in names:
        _place_in_time(network, latents.shape[2])
    told = embeddings * mask[..., None].to(embeddings.dtype)
    found = network(hidden_states=latents, timestep=timesteps, encoder_hidden_states=told).sample
    return found[:, : latents.shape[1]]


def _place_in_time(network: Any, frames: int) -> None:
    """Give Latte the places of so many frames: diffusers makes them for one number alone. They are sines, and no weights."""
    import torch
    from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

    known = network.temp_pos_embed  # [1, frames, width]; not used for a frame alone
    if frames not in (1, known.shape[1]):
        places = get_1d_sincos_pos_embed_from_grid(known.shape[2], torch.arange(frames)[:, None], output_type="pt")
        network.temp_pos_embed = places[None].to(known)


def _size_told(network: Any, latents: Any) -> dict[str, Any]:
    """PixArt's largest checkpoints are told the picture's size in pixels and its shape (arXiv 2310.00426, § 2.3)."""
    import torch

    if not network.use_additional_conditions:
        return {"resolution": None, "aspect_ratio": None}
    height, width = (_PIXART_FACTOR * side for side in latents.shape[-2:])
    options = {"dtype": latents.dtype, "device": latents.device}
    return {
        "resolution": torch.tensor([height, width], **options).expand(len(latents), 2),
        "aspect_ratio": torch.tensor([height / width], **options).expand(len(latents), 1),
    }


def load_denoiser(source: str | Path, subfolder: str | None = None, **options: Any) -> Any:
    """A folder says itself which kind its denoiser is; of a checkpoint on the hub the subfolder does. Options: diffusers'."""
    import diffusers

    name = class_of(source, subfolder, _CLASSES["unet" if subfolder == FOLDERS["unet"] else "dit"])
    if name == EXPERTS:
        from components.engines.nn.experts import ExpertWanTransformer3DModel

        return load_part(ExpertWanTransformer3DModel, source, subfolder, **options)
    known = [*_CLASSES.values(), *VIDEO_CLASSES.values()]
    if name not in known:
        raise UsageError(
            f"{name} is no denoiser that is known here", where=str(source), do=f"use one of {', '.join(known)}"
        )
    return load_part(getattr(diffusers, name), source, subfolder, **options)


def load_scheduler(source: str | Path, subfolder: str | None = None) -> Any:
    """The checkpoint's noise levels as a DDIMScheduler (CogVideoX's own, where it is one), or one of flows, whatever scheduler
    it comes with."""
    from diffusers import CogVideoXDDIMScheduler, DDIMScheduler, FlowMatchEulerDiscreteScheduler

    if class_of(source, subfolder, "").startswith("CogVideoX"):
        return load_part(CogVideoXDDIMScheduler, source, subfolder)
    known = load_part(DDIMScheduler, source, subfolder).config
    if known.get("prediction_type") == "flow_prediction" or class_of(source, subfolder, "").startswith("FlowMatch"):
        shift = known.get("shift", known.get("flow_shift", 1.0))
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=known["num_train_timesteps"], shift=shift)
    return load_part(DDIMScheduler, source, subfolder)
