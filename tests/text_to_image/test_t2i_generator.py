"""The finished model: our generator and plain diffusers make the same pictures of it."""

import pytest
import torch
from diffusers import DiffusionPipeline

from components.engines.base.errors import UsageError
from components.engines.diffusion.generator import Generator

PROMPTS = ["a small plain red circle in the top left", "a large plain blue cross in the top right", "green square"]


@pytest.fixture(params=["dit_room", "unet_room"])
def folder(request):
    return request.getfixturevalue(request.param).data / "model"


def test_plain_diffusers_loads_the_folder_and_makes_the_same_pictures(folder):
    ours = Generator.load(folder).generate(PROMPTS, seeds=[3, 4, 5], steps=3, guidance=2.0, sampler="ddim")
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    own = {}
    if "PixArt" in type(pipeline).__name__:
        own = {
            "height": 16,
            "width": 16,
            "use_resolution_binning": False,
            "clean_caption": False,
            "max_sequence_length": 20,
            "negative_prompt": "",
        }
    theirs = pipeline(
        PROMPTS,
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(seed) for seed in (3, 4, 5)],
        output_type="pt",
        **own,
    ).images
    assert ours.shape == (3, 3, 16, 16)
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "lcm", "dpm-solver"])
def test_a_picture_does_not_depend_on_what_is_made_beside_it(folder, sampler):
    generator = Generator.load(folder)
    options = {"steps": 3, "guidance": 2.0, "sampler": sampler}
    whole = generator.generate(PROMPTS, seeds=[3, 4, 5], **options)
    pieces = generator.generate(PROMPTS, seeds=[3, 4, 5], batch_size=1, **options)
    turned = generator.generate(PROMPTS[::-1], seeds=[5, 4, 3], **options)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.flip(0), whole, atol=1e-5, rtol=0)
    assert not torch.allclose(generator.generate(PROMPTS, seeds=[6, 4, 5], **options)[0], whole[0], atol=1e-3)


def test_pictures_lie_between_0_and_1_on_the_cpu(folder):
    made = Generator.load(folder).generate(PROMPTS[:1], seeds=[1], steps=2, guidance=1.0)
    assert made.dtype == torch.float32
    assert made.device.type == "cpu"
    assert 0 <= made.min() < made.max() <= 1


def test_prompt_and_negative_prompt_both_tell(dit_room):
    generator = Generator.load(dit_room.data / "model")
    with torch.no_grad():  # an untrained network hardly listens
        for block in generator.network.transformer_blocks:
            block.attn2.to_out[0].weight *= 50
    options = {"seeds": [1], "steps": 3}
    base = generator.generate(["red circle"], guidance=2.0, **options)
    assert not torch.allclose(base, generator.generate(["blue cross"], guidance=2.0, **options), atol=1e-3)
    avoided = generator.generate(["red circle"], guidance=2.0, negative_prompts=["blue"], **options)
    assert not torch.allclose(base, avoided, atol=1e-3)
    explicit = generator.generate(["red circle"], guidance=2.0, negative_prompts=[""], **options)
    assert torch.equal(base, explicit)
    plain = generator.generate(["red circle"], guidance=1.0, negative_prompts=["blue"], **options)
    assert torch.equal(plain, generator.generate(["red circle"], guidance=1.0, **options))


def test_another_denoiser_takes_the_place_of_the_folders_own(dit_room, tmp_path):
    teacher = Generator.load(dit_room.data / "model")
    student = Generator.load(dit_room.data / "model")
    with torch.no_grad():
        student.network.proj_out.bias += 1
    student.network.save_pretrained(tmp_path / "student")
    swapped = Generator.load(dit_room.data / "model", network=tmp_path / "student")
    options = {"seeds": [1], "steps": 2}
    assert torch.equal(swapped.generate(PROMPTS[:1], **options), student.generate(PROMPTS[:1], **options))
    assert not torch.equal(swapped.generate(PROMPTS[:1], **options), teacher.generate(PROMPTS[:1], **options))


def test_a_saved_generator_is_the_same_when_loaded_again(folder, tmp_path):
    first = Generator.load(folder)
    first.save(tmp_path / "again")
    options = {"seeds": [1, 2], "steps": 2}
    again = Generator.load(tmp_path / "again")
    assert torch.equal(first.generate(PROMPTS[:2], **options), again.generate(PROMPTS[:2], **options))


def test_what_does_not_fit_is_refused(dit_room, tmp_path):
    generator = Generator.load(dit_room.data / "model")
    with pytest.raises(UsageError, match="2 prompts have 1 seeds"):
        generator.generate(PROMPTS[:2], seeds=[1])
    with pytest.raises(UsageError, match="no prompts"):
        generator.generate([], seeds=[])
    with pytest.raises(UsageError, match="no sampler 'euler'"):
        generator.generate(PROMPTS[:1], seeds=[1], sampler="euler")
    with pytest.raises(UsageError, match="has neither"):
        Generator.load(tmp_path)
