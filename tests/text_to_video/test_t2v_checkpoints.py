"""Checkpoints that diffusers itself saved, through the stages and back into plain diffusers."""

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

from components.engines.base.errors import UsageError
from components.engines.diffusion.denoiser import load_scheduler
from components.engines.diffusion.generator import Generator
from components.engines.diffusion.noising import noising_of
from components.engines.latents.autoencoder import denormalised, load_autoencoder, normalised
from components.engines.latents.picture_convolution import quicken
from components.engines.latents.video import build_video_autoencoder, latent_shape, standardise_videos
from tests.text_to_image.small import make_tokenizer
from tests.text_to_video.small import SMALL, shaped, small

TEXT = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
BUCKETS = [{"frames": 1, "height": 16, "width": 16}, {"frames": 9, "height": 16, "width": 16}]


def save_wan(folder):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 16
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[0.5, 1.5, 0.7, 1.0], scale_factor_temporal=2, scale_factor_spatial=4,
    )  # fmt: skip
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=16, ffn_dim=32,
        num_layers=1, rope_max_seq_len=16,
    )  # fmt: skip
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    text = UMT5EncoderModel(UMT5Config(vocab_size=len(tokenizer), **TEXT))
    WanPipeline(tokenizer, text, vae, scheduler, transformer).save_pretrained(folder)


def save_cogvideox(folder):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 16
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3, up_block_types=("CogVideoXUpBlock3D",) * 3, block_out_channels=(4, 8, 8),
        latent_channels=4, layers_per_block=1, norm_num_groups=2, temporal_compression_ratio=4, sample_height=16,
        sample_width=16, scaling_factor=0.7,
    )  # fmt: skip
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=16,
        num_layers=1, sample_width=4, sample_height=4, sample_frames=9, patch_size=2, temporal_compression_ratio=4,
        max_text_seq_length=16,
    )  # fmt: skip
    scheduler = CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear", prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=3.0,
        timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
    )  # fmt: skip
    text = T5EncoderModel(T5Config(vocab_size=len(tokenizer), **TEXT))
    CogVideoXPipeline(tokenizer, text, vae, transformer, scheduler).save_pretrained(folder)


LAYOUTS = {"wan": (save_wan, "WanPipeline"), "cogvideox": (save_cogvideox, "CogVideoXPipeline")}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    save, pipeline = LAYOUTS[request.param]
    torch.manual_seed(0)
    save(folder)
    return folder, pipeline


def test_a_checkpoint_goes_through_every_stage_and_back_into_plain_diffusers(tmp_path, t2v_data, layout):
    folder, pipeline = layout
    architecture = shaped(init_from=str(folder), buckets=BUCKETS)
    room = small(
        tmp_path,
        t2v_data,
        architecture,
        train_autoencoder={"enabled": False, "training": {"max_steps": 1, "batch_size": 1, "learning_rate": 1}},
    )
    for stage in ("train_autoencoder", "train_text_encoder", "cache_latents", "pretrain", "finetune"):
        room.run(stage)
    plain = DiffusionPipeline.from_pretrained(room.data / "model")
    assert type(plain).__name__ == pipeline
    before = load_autoencoder(folder, "vae").state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.vae.state_dict().items())
    generator = Generator.load(room.data / "model")
    shape = latent_shape(generator.vae, 9, 16, 16)
    sampler = "ddim" if pipeline.startswith("Cog") else "euler"
    made = generator.generate(["a red circle"], seeds=[1], steps=2, sampler=sampler, shape=shape)
    assert made.shape == (1, 3, 9, 16, 16)
    assert made.isfinite().all()


def test_a_checkpoints_noise_levels_are_kept(tmp_path):
    for name, (save, _) in LAYOUTS.items():
        save(tmp_path / name)
    flows = load_scheduler(tmp_path / "wan", "scheduler")
    assert isinstance(flows, FlowMatchEulerDiscreteScheduler)
    assert flows.config.shift == 3.0
    cog = load_scheduler(tmp_path / "cogvideox", "scheduler")
    plain = CogVideoXDDIMScheduler.from_pretrained(tmp_path / "cogvideox", subfolder="scheduler")
    latents, noise, at = torch.ones(1, 4, 2, 2, 2), torch.zeros(1, 4, 2, 2, 2), torch.tensor([400])
    torch.testing.assert_close(noising_of(cog).noisy(latents, noise, at), plain.add_noise(latents, noise, at))


@pytest.mark.parametrize("kind", ["wan", "cogvideox"])
def test_fresh_autoencoders_take_pictures_and_clips_and_are_standardised(kind):
    torch.manual_seed(0)
    shape = {"kind": kind, "widths": (4, 8, 8), "halve_time": (True, True), "latent_channels": 4, "norm_groups": 2}
    autoencoder = build_video_autoencoder(SMALL.autoencoder.model_validate(shape), 16)
    videos = torch.rand(6, 3, 9, 16, 16) * 2 - 1
    standardise_videos(autoencoder, videos.split(2))
    with torch.no_grad():
        for frames in (1, 9):
            latents = autoencoder.encode(videos[:, :, :frames]).latent_dist.mode()
            assert latents.shape[1:] == latent_shape(autoencoder, frames, 16, 16)
            ours = normalised(autoencoder, latents)
            torch.testing.assert_close(denormalised(autoencoder, ours), latents)
            assert autoencoder.decode(latents).sample.shape == videos[:, :, :frames].shape
    if kind == "wan":
        assert ours.std((0, 2, 3, 4)).sub(1).abs().max() < 0.05
    else:
        assert ours.square().mean().sqrt().sub(1).abs() < 0.05


def test_pictures_are_encoded_quicker_to_the_same_latents():
    torch.manual_seed(0)
    shape = {"widths": (4, 8, 8), "halve_time": (True, True), "latent_channels": 4}
    autoencoder = build_video_autoencoder(SMALL.autoencoder.model_validate(shape), 16).eval()
    for module in autoencoder.modules():
        for tensor in module.parameters(recurse=False):
            torch.nn.init.normal_(tensor, std=0.3)
    videos = torch.rand(2, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        before = [autoencoder(videos[:, :, :frames]).sample for frames in (1, 9)]
        after = [quicken(autoencoder)(videos[:, :, :frames]).sample for frames in (1, 9)]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_parts_that_do_not_fit_are_refused(tmp_path, t2v_room):
    save_wan(tmp_path / "wan")
    architecture = shaped(init_from=str(tmp_path / "wan"), buckets=BUCKETS, text={"init_from": None})
    shape = {"in_channels": 8, "out_channels": 8, "text_dim": 16, "freq_dim": 16, "ffn_dim": 32, "num_layers": 1}
    transformer = WanTransformer3DModel(num_attention_heads=2, attention_head_dim=12, **shape)
    transformer.save_pretrained(tmp_path / "wan/transformer")
    room = small(
        tmp_path / "room",
        t2v_room,
        architecture,
        pretrain={"enabled": False, "training": {"max_steps": 1, "batch_size": 1, "learning_rate": 1}},
    )
    with pytest.raises(UsageError, match="wants 8"):
        room.run("pretrain")
