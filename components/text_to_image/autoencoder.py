"""The autoencoder: trained on the cleaned pictures, or the one of the checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from components.engines.base import stage
from components.engines.base.errors import StageError, UsageError
from components.engines.base.params import Params, Positive
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture


class Autoencoder(Params):
    """Training of the autoencoder, which starts from the checkpoint's where `architecture.init_from` is set.

    Not `enabled`, the checkpoint's is used as it is. One from scratch is `standardised` over that many training pictures.
    """

    enabled: bool = True
    kl_weight: Annotated[float, Field(ge=0)] = 1e-5
    standardised_over: Positive = 2000
    training: Training


def autoencoder(
    params: Autoencoder,
    architecture: Architecture,
    context: StageContext,
    cleaned: Path,
    checked: Path,
    autoencoder: Path,
    autoencoder_curve: Path,
) -> None:
    """Write an AutoencoderKL folder and its loss curve (CSV)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.engines.tracking.runs import stage_run
    from components.engines.training.curve import write_curve
    from components.engines.training.launch import launch
    from components.engines.training.weights import load_module
    from components.text_to_image.standardising import standardise

    if not read_json(checked)["success"]:
        raise StageError("The data checks failed, so nothing trains on these images", where=str(checked))
    if not params.enabled:
        if architecture.init_from is None:
            raise UsageError(
                "Nothing to use: text_to_image.autoencoder.enabled is false and text_to_image.architecture.init_from is null",
                where="params.yaml",
                do="name a checkpoint there, or train",
            )
        start(architecture, params.training.seed).save_pretrained(autoencoder, safe_serialization=True)
        write_curve(autoencoder_curve, [])
        return
    with stage_run(context, params.training.model_dump()) as run:
        fit = launch(
            partial(reconstruction, params, architecture, cleaned),
            params.training,
            work=context.work,
            observer_factory=run.observer,
        )
        run.log_metrics(fit.scores)
    network = start(architecture, params.training.seed)
    load_module(network, fit.weights / "autoencoder.safetensors")
    if architecture.init_from is None:  # the latents of a checkpoint are what its denoiser knows: left as they are
        standardise(network, CaptionedImages(cleaned, "train"), architecture.image_px, params.standardised_over)
    network.save_pretrained(autoencoder, safe_serialization=True)
    write_curve(autoencoder_curve, fit.curve)


def reconstruction(params: Autoencoder, architecture: Architecture, cleaned: Path) -> Any:
    """Build the task (also inside a Ray worker, so from plain arguments)."""
    from components.engines.captioned.dataset import CaptionedImages
    from components.text_to_image.reconstruction import Reconstruction

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
    from components.text_to_image.model import build_autoencoder, load_autoencoder

    seed_everything(seed, "autoencoder")
    if architecture.init_from:
        return load_autoencoder(architecture.init_from, "vae")
    return build_autoencoder(architecture)


if __name__ == "__main__":
    stage.main(autoencoder)
