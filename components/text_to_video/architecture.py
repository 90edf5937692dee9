"""The shape of all networks: the params sections that several stages of this room share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.engines.base.errors import UsageError
from components.engines.base.params import Params, Positive
from components.engines.diffusion.text_encoder_stage import TextShape
from components.engines.diffusion.video import VideoDenoiserShapes
from components.engines.latents.video import VideoAutoencoderShape
from components.engines.videos.buckets import Bucket


class CaptionReader(TextShape):
    """A T5 from scratch, if nothing else is said: the clip room's text tower has read of no motion."""

    encoder: Literal["clip", "t5"] = "t5"
    t5_width: Positive = 64
    t5_layers: Positive = 2


class Architecture(Params):
    """Autoencoder and text encoder, and the lengths and sizes (`buckets`) at which videos are learnt.

    With `init_from` (a hub id or folder in the layout of Wan's or CogVideoX's pipeline) all shapes, the noise and the tokenizer
    are taken from there, and so are the weights. The first of the longest buckets is what is generated unless a call says
    otherwise. Frames are those of the cleaned clips, `stride` apart.
    """

    init_from: str | None = None
    buckets: Annotated[tuple[Bucket, ...], Field(min_length=1)] = (
        Bucket(frames=1, height=32, width=32),
        Bucket(frames=9, height=32, width=32, stride=2),
    )
    autoencoder: VideoAutoencoderShape = VideoAutoencoderShape()
    text: CaptionReader = CaptionReader()

    @property
    def longest(self) -> Bucket:
        return max(self.buckets, key=lambda one: one.frames)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.init_from:
            return self
        step, factor = self.autoencoder.frame_step, self.autoencoder.spatial_factor
        for one in self.buckets:
            if (one.frames - 1) % step:
                raise ValueError(f"a bucket of {one.frames} frames is not 1 + a multiple of {step}")
            if one.height % factor or one.width % factor:
                raise ValueError(
                    f"a bucket of {one.height} x {one.width} is not divisible by {factor}, the autoencoder's factor"
                )
        return self


class Denoiser(VideoDenoiserShapes):
    """The denoiser, a section of its own: another one needs no other autoencoder, text encoder or latents."""

    network: Literal["wan", "latte", "unet3d"] = "latte"

    @property
    def divides_by(self) -> int:
        """What height and width of latents must be a multiple of."""
        return {"wan": self.wan.patch[1], "latte": self.latte.patch}.get(
            self.network, 2 ** (len(self.unet3d.widths) - 1)
        )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.wan.width // self.wan.heads % 2 or self.wan.width % self.wan.heads:
            raise ValueError(f"wan.width {self.wan.width} is not an even number times its {self.wan.heads} heads")
        return self


def check_together(architecture: Architecture, denoiser: Denoiser) -> None:
    """Raises UsageError if the denoiser cannot divide the latents of a bucket."""
    if architecture.init_from:
        return
    finest = architecture.autoencoder.spatial_factor * denoiser.divides_by
    for one in architecture.buckets:
        if one.height % finest or one.width % finest:
            raise UsageError(
                f"A bucket of {one.height} x {one.width} is not divisible by {finest}, as autoencoder and denoiser divide it",
                where="params.yaml, text_to_video.architecture.buckets",
                do="take other sizes, or a smaller patch or fewer widths in text_to_video.denoiser",
            )
