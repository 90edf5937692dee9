"""The stages of text_to_image called one after another, tiny, for tests."""

from pathlib import Path

from components.engines.base.paths import write_json
from components.engines.base.stage import StageContext
from components.engines.captioned.clean import ImageCleaning, clean_images
from components.engines.captioned.ingest import ImageIngest, ingest_images
from components.engines.training.params import Training
from components.text_to_image.architecture import Architecture
from components.text_to_image.autoencoder import Autoencoder, autoencoder
from components.text_to_image.precompute import Precompute, precompute
from components.text_to_image.text_encoder import TextEncoder, text_encoder
from components.text_to_image.train import Train, denoising, train

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


class Room:
    """`data` holds `cleaned` (taken for curated, too) and `model` (a CLIPModel); everything else is written to `root`."""

    def __init__(self, root, data, architecture=SMALL):
        self.root, self.data, self.architecture = Path(root), Path(data), architecture
        self.curated = self.data / "cleaned"

    def context(self, stage):
        work = self.root / "work" / stage
        work.mkdir(parents=True, exist_ok=True)
        return StageContext("text_to_image", stage, "key", work, self.data, {}, {})  # one MLflow store for all

    def autoencoder(self, **params):
        params = Autoencoder(**{"training": training(select_metric="valid_psnr"), **params})
        outs = (self.root / "autoencoder", self.root / "autoencoder_curve.csv")
        ins = (self.curated, self.data / "checked.json")
        autoencoder(params, self.architecture, self.context("autoencoder"), *ins, *outs)
        return outs[0]

    def text_encoder(self, **params):
        params = TextEncoder(**{"training": training(), **params})
        outs = (self.root / "text_encoder", self.root / "text_encoder_curve.csv")
        text_encoder(params, self.architecture, self.context("text_encoder"), self.data / "model", self.curated, *outs)
        return outs[0]

    @property
    def parts(self):
        return self.curated, self.root / "autoencoder", self.root / "text_encoder"

    def precompute(self, **params):
        precompute(
            Precompute(**params), self.architecture, self.context("precompute"), *self.parts, self.root / "latents"
        )
        return self.root / "latents"

    def train(self, out="model", **params):
        params = Train(**{"training": training(), **params})
        outs = (self.root / out, self.root / f"{out}_curve.csv")
        train(params, self.architecture, self.context(out), *self.parts, self.root / "latents", *outs)
        return outs[0]

    def task(self, **params):
        params = Train(**{"training": training(), **params})
        return denoising(params, self.architecture, *self.parts, self.root / "latents")


def make_data(root):
    """Two dozen scenes with captions, and a CLIPModel that has learnt nothing of them."""
    ingest_images(
        ImageIngest(
            num_train=40,
            num_test=8,
            valid_fraction=0.2,
            image_px=32,
            textures=("plain",),
            wrong_captions=0,
            bad_files=0,
            samples_per_shard=12,
        ),
        root / "images",
    )
    work = root / "work"
    work.mkdir()
    context = StageContext("text_to_image", "clean", "key", work, root, {}, {})
    clean_images(ImageCleaning(copies="pair"), context, root / "images", root / "cleaned", root / "cleaning.json")
    write_json(root / "checked.json", {"success": True})
    make_clip(root / "model")


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
