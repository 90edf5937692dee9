"""The stages of text_to_image called one after another, tiny, for tests."""

from components.engines.base.paths import write_json
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture
from tests.room import Room

SMALL = Architecture(
    image_px=16,
    autoencoder={"widths": (8, 8), "norm_groups": 4, "latent_channels": 4},
    text={"max_tokens": 20, "t5_width": 16, "t5_layers": 1, "t5_heads": 2},
    dit={"width": 16, "layers": 1, "heads": 2},
    unet={"widths": (8, 16), "head_width": 8, "norm_groups": 4},
)


def training(steps=2, **changes):
    settings = {"max_steps": steps, "batch_size": 8, "learning_rate": 1e-3, "num_threads": 1}
    return Training(**{**settings, **changes})


def shaped(**changes):
    """The small architecture with some values changed (of a section: those named)."""
    values = SMALL.model_dump()
    for name, value in changes.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return Architecture(**values)


def small(root, base, architecture=SMALL, **sections):
    """A room on what `make_data` made."""
    ours = {stage: {"training": training()} for stage in ("train_text_encoder", "train")}
    ours["train_autoencoder"] = {"training": training(select_metric="valid_psnr")}
    return Room("text_to_image", root, base, architecture=architecture, **{**ours, **sections})


def make_data(root):
    """Two dozen scenes with captions, taken for curated, too, and a CLIPModel that has learnt nothing of them."""
    world = {"num_train": 40, "num_test": 8, "valid_fraction": 0.2, "image_px": 32, "textures": ("plain",)}
    world |= {"wrong_captions": 0, "bad_files": 0, "samples_per_shard": 12}
    room = Room("text_to_image", root, ingest=world, clean={"copies": "pair"}).run_all("ingest", "clean")
    (room.data / "curated").symlink_to(room.data / "cleaned")
    write_json(room.reports / "checked.json", {"success": True})
    make_clip(root / "data/clip/model")
    return room


def make_tokenizer():
    """A word a token, between a start and an end token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from components.engines.worlds.scenes import PHRASINGS, scenes

    said = " ".join([*PHRASINGS, *(" ".join(scene.as_dict().values()) for scene in scenes(held_out=False))])
    words = sorted(set(said.replace(",", " , ").split()) - {""})
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<start>", "<unk>", "<end>", *words])}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.normalizer, fast.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 3)]
    )
    special = {"pad_token": "<pad>", "bos_token": "<start>", "unk_token": "<unk>", "eos_token": "<end>"}
    return PreTrainedTokenizerFast(tokenizer_object=fast, **special)


def make_clip(folder):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = make_tokenizer()
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
    torch.manual_seed(0)
    network = CLIPModel(
        CLIPConfig(
            text_config={**shape, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 24},
            vision_config={**shape, "image_size": 16, "patch_size": 8},
            projection_dim=8,
        )
    )
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
