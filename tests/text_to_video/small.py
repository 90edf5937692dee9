"""The stages of text_to_video called one after another, tiny, for tests."""

from components.engines.training.params import Training
from components.text_to_video.architecture import Architecture, Denoiser
from tests.room import Room
from tests.text_to_image.small import make_tokenizer

SMALL = Architecture(
    buckets=({"frames": 1, "height": 16, "width": 16}, {"frames": 5, "height": 16, "width": 16, "stride": 2}),
    autoencoder={"widths": (8, 8), "halve_time": (True,), "latent_channels": 4, "patch": 2},
    text={"max_tokens": 16, "t5_width": 16, "t5_layers": 1, "t5_heads": 2},
)
DENOISER = Denoiser(
    network="wan",
    wan={"width": 16, "layers": 1, "heads": 2},
    latte={"width": 16, "layers": 2, "heads": 2},
    unet3d={"widths": (8, 16), "head_width": 8, "norm_groups": 4},
)
WORLD = {
    "num_train": 70, "num_stills": 12, "num_test": 10, "valid_fraction": 0.15, "samples_per_shard": 40,
    "bad_files": 0.1, "odd_files": 0.15, "dirt": 0.3, "seed": 3,
}  # fmt: skip


def training(steps=2, **changes):
    settings = {"max_steps": steps, "batch_size": 4, "learning_rate": 1e-3, "num_threads": 1}
    return Training(**{**settings, **changes})


def shaped(**changes):
    """The small architecture with some values changed (of a section: those named)."""
    values = SMALL.model_dump()
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return Architecture(**values)


def small(root, base=None, architecture=SMALL, denoiser=DENOISER, **sections):
    """A room; on what another made if that is its base."""
    ours = {
        "ingest": WORLD,
        "clean": {"max_bad_fraction": 0.5},
        "validate": {"min_train_clips": 10, "min_test_clips": 2},
        "train_autoencoder": {"training": training(3), "picture_steps": 1, "standardised_over": 16},
        "train_text_encoder": {"training": training()},
        "pretrain": {"training": training(), "valid_samples": 8},
        "finetune": {"training": training(), "valid_samples": 8},
        "train_upscaler": {"training": training(), "width": 8, "crop_px": 8},
        "train_interpolator": {"training": training(), "width": 8, "px": 32},
        "train_judge": {"training": training(), "width": 8, "features": 8},
        "evaluate": {"sampling": {"sampler": "euler", "steps": 2}, "num_prompts": 8, "num_reference": 12, "num_samples": 3},
    }  # fmt: skip
    return Room("text_to_video", root, base, architecture=architecture, denoiser=denoiser, **{**ours, **sections})


def make_clip(folder):
    """A CLIPModel that has learnt nothing; of motion, as the clip room's, it has no word."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = make_tokenizer()
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
    torch.manual_seed(0)
    text = {**shape, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    vision = {**shape, "image_size": 16, "patch_size": 8}
    network = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
