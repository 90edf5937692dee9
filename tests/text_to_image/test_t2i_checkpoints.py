"""Checkpoints that diffusers itself saved, through the stages and back into plain diffusers."""

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    PixArtAlphaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from components.engines.base.errors import UsageError
from components.engines.diffusion.denoiser import denoise, load_denoiser
from components.engines.diffusion.generator import Generator
from components.engines.latents.autoencoder import load_autoencoder
from components.text_to_image.architecture import Architecture
from tests.text_to_image.small import make_tokenizer, shaped, small

LINEAR = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def vae():
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.5,
    )


def save_stable_diffusion(folder):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 20
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=20,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=3,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(**LINEAR, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def save_pixart(folder):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 512
    text = T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2))
    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=8,
        out_channels=8,  # the published ones predict variances too
        norm_num_groups=4,
    )
    scheduler = DPMSolverMultistepScheduler(beta_schedule="linear")
    PixArtAlphaPipeline(tokenizer, text, vae(), transformer, scheduler).save_pretrained(folder)


CHECKPOINTS = {"unet": save_stable_diffusion, "dit": save_pixart}


@pytest.fixture(params=CHECKPOINTS)
def room(request, tmp_path, t2i_base):
    torch.manual_seed(1)
    CHECKPOINTS[request.param](tmp_path / "checkpoint")
    architecture = shaped(network=request.param, init_from=str(tmp_path / "checkpoint"))
    return small(tmp_path / "room", t2i_base, architecture)


def parts_as_they_are(room):
    """The room with the checkpoint's autoencoder and text encoder."""
    room.run("train_autoencoder", enabled=False)
    return room.run_all("train_text_encoder")


def weights_of(module):
    return torch.cat([weight.flatten() for weight in module.state_dict().values()])


def test_a_checkpoint_goes_through_all_stages_and_back_into_plain_diffusers(room, tmp_path):
    checkpoint, part = (
        tmp_path / "checkpoint",
        {"unet": "unet", "dit": "transformer"}[room.sections["architecture"].network],
    )
    parts_as_they_are(room).run("cache_latents")
    model = room.run("train")["model"]
    taken, given = load_autoencoder(room.data / "autoencoder"), load_autoencoder(checkpoint, "vae")
    assert torch.equal(weights_of(taken), weights_of(given))
    assert taken.config.scaling_factor == 0.5
    before, after = load_denoiser(checkpoint, part), load_denoiser(model, part)
    assert before.config.out_channels == after.config.out_channels
    moved = (weights_of(before) - weights_of(after)).abs().max()
    assert 0 < moved < 0.01  # two steps from where the checkpoint was
    pipeline, original = DiffusionPipeline.from_pretrained(model), DiffusionPipeline.from_pretrained(checkpoint)
    assert type(pipeline) is type(original)
    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert torch.equal(pipeline.scheduler.alphas_cumprod, original.scheduler.alphas_cumprod)
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert torch.equal(weights_of(pipeline.text_encoder), weights_of(original.text_encoder))
    assert Generator.load(model).generate(["red circle"], seeds=[1], steps=2).std() > 0


def test_a_checkpoint_can_be_used_without_any_training(room, tmp_path):
    parts_as_they_are(room).run("cache_latents")
    outs = room.run("train", enabled=False)
    ours = Generator.load(outs["model"])
    theirs = DiffusionPipeline.from_pretrained(tmp_path / "checkpoint")
    part = theirs.unet if room.sections["architecture"].network == "unet" else theirs.transformer
    assert torch.equal(weights_of(ours.network), weights_of(part))
    assert outs["train_curve"].read_text() == "step\n"


def test_pictures_of_another_size_than_the_checkpoints_are_refused(room):
    parts_as_they_are(room)
    room.sections["architecture"] = Architecture(**{**room.sections["architecture"].model_dump(), "image_px": 32})
    with pytest.raises(UsageError, match=r"Latents are 4 x 16 x 16, but the denoiser wants 4 x 8 x 8"):
        room.run("train", enabled=False)


def test_a_fine_tuned_autoencoder_keeps_the_latent_space_its_denoiser_knows(room):
    folder = room.run("train_autoencoder")["autoencoder"]
    config = load_autoencoder(folder).config
    assert (config.scaling_factor, config.shift_factor) == (0.5, None)


def test_a_pipeline_saved_by_diffusers_is_a_model_folder(tmp_path):
    torch.manual_seed(1)
    save_stable_diffusion(tmp_path)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 4, "guidance_scale": 3.0, "negative_prompt": "blue", "output_type": "pt"}
    theirs = pipeline("red circle", generator=torch.Generator().manual_seed(9), **options).images
    ours = Generator.load(tmp_path).generate(["red circle"], seeds=[9], steps=4, negative_prompts=["blue"])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_transformer_that_is_told_the_size_of_the_picture_hears_it_in_pixels():
    torch.manual_seed(0)
    network = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        cross_attention_dim=24,
        caption_channels=16,
        sample_size=8,
        out_channels=4,
        use_additional_conditions=True,
    ).eval()
    latents, text, mask = torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16), torch.ones(2, 5)
    size = {"resolution": torch.tensor([[64.0, 64.0]] * 2), "aspect_ratio": torch.ones(2, 1)}
    with torch.no_grad():
        direct = network(
            latents,
            encoder_hidden_states=text,
            timestep=torch.tensor([5, 9]),
            added_cond_kwargs=size,
            encoder_attention_mask=mask,
        ).sample
        assert torch.equal(denoise(network, latents, torch.tensor([5, 9]), text, mask), direct)


def test_a_folder_that_is_no_checkpoint_is_refused_by_every_stage(tmp_path, t2i_base):
    room = small(tmp_path, t2i_base, shaped(init_from=str(tmp_path / "nothing")))
    with pytest.raises(UsageError, match=r"Cannot load a AutoencoderKL.*nothing/vae"):
        room.run("train_autoencoder", enabled=False)
    with pytest.raises(UsageError, match="Cannot load a text encoder"):
        room.run("train_text_encoder")
