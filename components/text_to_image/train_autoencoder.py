"""The autoencoder: trained on the cleaned pictures, or the one of the checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.params import Positive
from components.engines.base.stage import StageContext
from components.engines.training.stage import Trained, require_something, train_stage
from components.text_to_image.architecture import Architecture


class TrainAutoencoder(Trained):
    """Training of the autoencoder, which starts from the checkpoint's where `architecture.init_from` is set.

    Not `enabled`, the checkpoint's is used as it is. One from scratch is `standardised` over that many training pictures.
    """

    kl_weight: Annotated[float, Field(ge=0)] = 1e-5
    standardised_over: Positive = 2000


def train_autoencoder(
    params: TrainAutoencoder,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    checked: Path,
    autoencoder: Path,
    autoencoder_curve: Path,
) -> None:
    """Write an AutoencoderKL folder and its loss curve (CSV)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.checks.stage import require_passed
    from components.engines.latents.standardize import standardise

    require_passed(checked)
    require_something(context, params, architecture.init_from)
    learnt = train_stage(context, params, partial(reconstruction, params, architecture, cleaned), autoencoder_curve)
    network = start(architecture, params.training.seed)
    learnt.load(network, "autoencoder")
    if architecture.init_from is None:  # the latents of a checkpoint are what its denoiser knows: left as they are
        standardise(network, CaptionedImages(cleaned, "train"), architecture.image_px, params.standardised_over)
    network.save_pretrained(autoencoder, safe_serialization=True)


def reconstruction(params: TrainAutoencoder, architecture: Architecture, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.latents.reconstruction import Reconstruction

    return Reconstruction(
        start(architecture, params.training.seed),
        CaptionedImages(cleaned, "train"),
        CaptionedImages(cleaned, "valid"),
        image_px=architecture.image_px,
        kl_weight=params.kl_weight,
        seed=params.training.seed,
    )


def start(architecture: Architecture, seed: int) -> Any:
    """The autoencoder, random from `seed` or as `init_from` has it."""
    from components.engines.base.seeds import seed_everything
    from components.engines.latents.autoencoder import build_autoencoder, load_autoencoder

    seed_everything(seed, "autoencoder")
    if architecture.init_from:
        return load_autoencoder(architecture.init_from, "vae")
    return build_autoencoder(architecture.autoencoder, architecture.image_px)


if __name__ == "__main__":
    stage.main(train_autoencoder)
