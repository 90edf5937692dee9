"""Figures of image pairs and of images with texts: against torchmetrics, by hand, and in the order of known damage."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn import functional
from torchmetrics.functional.image import lpips as torchmetrics_lpips
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.functional.multimodal import clip_score as torchmetrics_clip_score
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

from components.engines.base.errors import StageError, UsageError
from components.engines.scoring.metrics import compute, load, sentence_scores
from components.engines.scoring.modules.clip_score import clip_score
from components.engines.scoring.modules.lpips import lpips
from components.engines.scoring.modules.psnr import psnr
from components.engines.scoring.perceptual import ClipFeatures, features_of, map_distances, perceptual_distances
from components.engines.scoring.vgg import VggFeatures

VISION = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
    "patch_size": 8, "projection_dim": 12,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20,
    "max_position_embeddings": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 19, "projection_dim": 12,
}  # fmt: skip
IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
seeds = st.integers(0, 2**16)


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    config = CLIPConfig(text_config=CLIPTextConfig(**TEXT), vision_config=CLIPVisionConfig(**VISION), projection_dim=12)
    return CLIPModel(config).eval()


def noisy(level):
    return (IMAGES + level * NOISE).clamp(0, 1)


def test_psnr_is_torchmetrics_and_its_formula():
    other = peak_signal_noise_ratio(noisy(0.1), IMAGES, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert sentence_scores(psnr, noisy(0.1), IMAGES) == pytest.approx(other.tolist(), rel=1e-5)
    assert compute(psnr, noisy(0.1), IMAGES) == {"psnr": pytest.approx(other.mean().item(), rel=1e-5), "identical": 0}
    grey = np.full((1, 3, 8, 8), 0.5)
    assert compute(psnr, grey + 0.1, grey)["psnr"] == pytest.approx(20, rel=1e-5)  # 10 · log10(1 / 0.01)
    assert compute(psnr, grey + 0.001, grey)["psnr"] == pytest.approx(60, rel=1e-3)


def test_psnr_from_noise_to_the_image_itself():
    ladder = [compute(psnr, noisy(level), IMAGES)["psnr"] for level in (1, 0.3, 0.1, 0.01, 0)]
    assert ladder == sorted(ladder)
    assert ladder[0] < 10
    assert ladder[-1] == 100
    assert compute(psnr, IMAGES.mean(dim=0, keepdim=True).expand_as(IMAGES), IMAGES)["psnr"] < 15  # the mean image


def test_equal_images_count_as_the_ceiling():
    half = torch.cat([IMAGES[:3], noisy(0.1)[3:]])
    figures = compute(psnr, half, IMAGES, ceiling=60)
    assert figures["identical"] == 3
    assert figures["psnr"] == pytest.approx((3 * 60 + sum(sentence_scores(psnr, half[3:], IMAGES[3:]))) / 6)
    with pytest.raises(UsageError, match="ceiling"):
        compute(psnr, IMAGES, IMAGES, ceiling=float("inf"))


def test_images_come_in_any_array_and_through_arrow():
    expected = compute(psnr, noisy(0.1), IMAGES)
    assert compute(psnr, noisy(0.1).numpy(), IMAGES.numpy()[::-1][::-1]) == expected
    metric = load(psnr)
    metric.add_batch(predictions=noisy(0.1).numpy(), references=IMAGES.numpy())
    assert metric.compute() == expected


@pytest.mark.parametrize(
    ("predictions", "words"),
    [
        ((IMAGES * 255).byte(), "from 0 to 1"),
        (IMAGES * 2 - 1, "from 0 to 1"),
        (IMAGES * float("nan"), "from 0 to 1"),
        (IMAGES[0], r"not of shape \[3, 32, 32\]"),
        (IMAGES[:5], "reference of its shape"),
        (IMAGES[:0], "not of shape"),
        (None, "numbers in an array|not of shape"),
    ],
)
def test_what_is_no_such_image_is_refused(predictions, words):
    with pytest.raises(StageError, match=words):
        compute(psnr, predictions, IMAGES)


class Pyramid:
    """A toy network: three layers of fixed random filters, as a stand-in for a trained one."""

    name = "toy"

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.filters = [torch.randn(c, 3, 3, 3, generator=generator) for c in (4, 8, 16)]

    def maps(self, images):
        return [functional.conv2d(functional.avg_pool2d(images, 2**n), f).relu() for n, f in enumerate(self.filters)]

    def features(self, images):
        return self.maps(images)[-1].mean(dim=(2, 3))


def test_lpips_by_hand():
    """One layer, two places: at one (3, 4) against (4, 3), of length 1 (.6, .8) and (.8, .6); at the other (1, 0) twice."""
    one, other = torch.tensor([[[[3.0, 1]], [[4, 0]]]]), torch.tensor([[[[4.0, 1]], [[3, 0]]]])
    assert map_distances([one], [other]).tolist() == pytest.approx([(0.04 + 0.04) / 2])
    assert map_distances([one, one], [other, other], [torch.tensor([1.0, 0]), torch.tensor([0, 3.0])]).tolist() == (
        pytest.approx([0.04 / 2 + 3 * 0.04 / 2])
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_lpips_is_torchmetrics_on_the_same_maps(weighted):
    """torchmetrics' own forward pass, with our network and weights where it has a pretrained one."""
    toy = Pyramid()
    generator = torch.Generator().manual_seed(2)
    weights = [torch.rand(len(f), generator=generator) if weighted else torch.ones(len(f)) for f in toy.filters]
    theirs = torchmetrics_lpips._LPIPS.__new__(torchmetrics_lpips._LPIPS)
    torch.nn.Module.__init__(theirs)
    theirs.scaling_layer, theirs.net, theirs.L = torch.nn.Identity(), torch.nn.Module(), 3
    theirs.net.forward, theirs.resize, theirs.spatial = toy.maps, None, False
    theirs.lins = [lambda x, w=w: (x * w.view(1, -1, 1, 1)).sum(dim=1, keepdim=True) for w in weights]
    expected = theirs(IMAGES, noisy(0.3)).flatten().tolist()
    given = {"weights": weights} if weighted else {}
    assert sentence_scores(lpips, IMAGES, noisy(0.3), network=toy, **given) == pytest.approx(expected, rel=1e-5)
    figures = compute(lpips, IMAGES, noisy(0.3), network=toy, **given)
    assert figures == {"lpips_toy": pytest.approx(np.mean(expected), rel=1e-5)}


@given(seeds)
def test_lpips_is_symmetric_and_nothing_for_equal_images(seed):
    others = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(seed + 2))
    one, other = (perceptual_distances(Pyramid(), *pair, batch_size=4) for pair in ((IMAGES, others), (others, IMAGES)))
    assert torch.equal(one, other)
    assert (one > 0).all()
    assert perceptual_distances(Pyramid(), others, others).tolist() == [0] * 6


@pytest.mark.parametrize("kind", ["toy", "clip"])
def test_lpips_grows_with_noise(kind, clip):
    network = Pyramid() if kind == "toy" else ClipFeatures(clip)
    ladder = [compute(lpips, noisy(level), IMAGES, network=network)[f"lpips_{kind}"] for level in (0, 0.05, 0.2, 0.8)]
    assert ladder == sorted(ladder)
    assert ladder[0] == 0
    assert ladder[1] < 0.2 * ladder[3]


def test_lpips_wants_a_network_and_weights_that_fit():
    for network in (None, "clip"):
        with pytest.raises(UsageError, match="network with feature maps"):
            compute(lpips, IMAGES, IMAGES, network=network)
    with pytest.raises(StageError, match="one per channel"):
        compute(lpips, IMAGES, IMAGES, network=Pyramid(), weights=[[1.0]] * 3)


def test_clip_features_are_its_embeddings_whatever_part_of_it_is_given(clip):
    pictures = (IMAGES * 255).round().byte()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = processor(images=list(pictures.numpy()), return_tensors="pt")["pixel_values"]
    images = pictures / 255
    with torch.inference_mode():
        expected = clip.get_image_features(pixel_values=pixels).pooler_output
    found = features_of(ClipFeatures(clip), images, batch_size=4)
    assert found.shape == (6, 12)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found.norm(dim=1), torch.ones(6))
    with_projection = CLIPVisionModelWithProjection(clip.config.vision_config)
    with_projection.load_state_dict(clip.state_dict(), strict=False)
    assert torch.allclose(features_of(ClipFeatures(with_projection), images), expected, atol=1e-5)
    assert features_of(ClipFeatures(CLIPVisionModel(clip.config.vision_config)), IMAGES).shape == (6, 16)


def test_clip_maps_are_the_patches_of_every_layer(clip):
    network = ClipFeatures(clip)
    with torch.inference_mode():
        maps = network.maps(IMAGES)
        states = clip.vision_model(network._pixels(IMAGES), output_hidden_states=True).hidden_states
    assert [list(one.shape) for one in maps] == [[6, 16, 4, 4]] * 3
    for one, state in zip(maps, states[1:], strict=True):
        assert torch.equal(one[:, :, 1, 2], state[:, 1 + 1 * 4 + 2])  # row 1, column 2, behind the class token


def test_clip_features_resize_images(clip):
    large = functional.interpolate(IMAGES, (64, 64), mode="nearest")
    found, expected = (features_of(ClipFeatures(clip), images) for images in (large, IMAGES))
    assert functional.cosine_similarity(found, expected).min() > 0.99


def test_clip_features_load_a_folder(clip, tmp_path):
    CLIPImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(tmp_path)
    clip.save_pretrained(tmp_path)
    network = ClipFeatures.load(tmp_path, "clip_small")
    expected = ClipFeatures(clip, mean=[0.5] * 3, std=[0.25] * 3)
    assert torch.equal(features_of(network, IMAGES), features_of(expected, IMAGES))
    assert (network.name, network.mean) == ("clip_small", (0.5, 0.5, 0.5))
    clip_vision = CLIPVisionModel(clip.config.vision_config)
    clip_vision.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"lacks 1 of its weights \(visual_projection"):
        ClipFeatures.load(tmp_path)
    with pytest.raises(UsageError, match="Cannot load"):
        ClipFeatures.load(tmp_path / "nowhere")


def test_vgg_reads_torchvisions_names(tmp_path):
    """The reference is the network written out in functions, with torchvision's numbers of its 13 convolutions."""
    generator = torch.Generator().manual_seed(0)
    numbers, weights, channels = iter([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]), {}, 3
    expected, state = (
        [],
        (IMAGES[:2] - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
    )
    for block, (width, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        state = functional.max_pool2d(state, 2) if block else state
        for _ in range(depth):
            weight = torch.randn(width, channels, 3, 3, generator=generator) / (9 * channels / 2) ** 0.5
            bias, channels, number = torch.rand(width, generator=generator) / 10, width, next(numbers)
            weights |= {f"features.{number}.weight": weight, f"features.{number}.bias": bias}
            state = functional.conv2d(state, weight, bias, padding=1).relu()
        expected.append(state)
    save_file(weights | {"classifier.6.bias": torch.zeros(3)}, tmp_path / "vgg.safetensors")
    network = VggFeatures.load(tmp_path / "vgg.safetensors")
    with torch.inference_mode():
        maps = network.maps(IMAGES[:2])
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(maps, expected, strict=True))
    assert features_of(network, IMAGES[:2]).shape == (2, 512)
    assert 0 < compute(lpips, noisy(0.1)[:2], IMAGES[:2], network=network)["lpips_vgg16"] < 2
    del weights["features.28.bias"]
    save_file(weights, tmp_path / "cut.safetensors")
    with pytest.raises(UsageError, match=r"28\.bias"):
        VggFeatures.load(tmp_path / "cut.safetensors")


def vectors(seed, samples=5, width=7):
    return np.random.default_rng(seed).normal(size=(samples, width))


class Embeddings:
    """Stands where torchmetrics expects a CLIP model and its processor: the embeddings are there already."""

    def __init__(self, images, texts):
        self.images, self.texts = torch.from_numpy(images), torch.from_numpy(texts)
        self.config = None

    def to(self, device):
        return self

    def __call__(self, **_):
        return {"pixel_values": self.images, "input_ids": self.texts, "attention_mask": self.texts}

    def get_image_features(self, values):
        return values

    def get_text_features(self, values, mask):
        return values


def test_clip_score_is_torchmetrics_up_to_its_scale():
    images, texts = np.abs(vectors(0)), np.abs(vectors(1))
    known = Embeddings(images, texts)
    other = torchmetrics_clip_score(list(torch.zeros(5, 3, 2, 2)), ["text"] * 5, lambda: (known, known)).item()
    assert compute(clip_score, images, texts, scale=100)["score"] == pytest.approx(other)
    assert compute(clip_score, images, texts)["score"] == pytest.approx(other / 40)


def test_clip_score_by_hand():
    """cos .6; at a right angle; opposite, which counts as 0. With a caption of cos .8: 2 · 1.5 · .8 / 2.3."""
    images, texts = [[1.0, 0], [1, 0], [1, 0]], [[3.0, 4], [0, 2], [-1, 0]]
    assert sentence_scores(clip_score, images, texts) == pytest.approx([1.5, 0, 0])
    captions = [[[0.0, 5], [-1, 0]], [[0.0, 1]], [[1.0, 0]]]
    assert sentence_scores(clip_score, images, texts, captions=captions) == pytest.approx([2.4 / 2.3, 0, 0])
    figures = compute(clip_score, images, texts, captions=captions)
    assert figures == {"score": pytest.approx(0.5), "ref_score": pytest.approx(0.8 / 2.3)}


@given(seeds, st.floats(0.01, 100))
def test_clip_score_knows_directions_only(seed, length):
    images, texts = vectors(seed), vectors(seed + 1)
    scores = sentence_scores(clip_score, images, texts)
    assert scores == pytest.approx(sentence_scores(clip_score, images * length, texts), abs=1e-9)
    assert all(0 <= one <= 2.5 + 1e-9 for one in scores)
    assert compute(clip_score, images, images * length)["score"] == pytest.approx(2.5)


def test_clip_score_tells_the_right_text_from_another():
    texts = vectors(0, samples=40, width=64)
    right, wrong = (
        compute(clip_score, texts + 0.5 * vectors(1, 40, 64), other)["score"] for other in (texts, texts[::-1])
    )
    assert right > 2
    assert wrong < 0.2


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: compute(clip_score, vectors(0), vectors(1)[:4]), StageError, "reference of its shape"),
        (lambda: compute(clip_score, vectors(0) * 0, vectors(1)), StageError, "no direction"),
        (lambda: compute(clip_score, vectors(0), vectors(1), captions=[vectors(2)]), StageError, "1 for 5"),
        (lambda: compute(clip_score, vectors(0), vectors(1), captions=[vectors(2, 1, 3)] * 5), StageError, "widths"),
        (lambda: compute(clip_score, vectors(0), vectors(1), scale=0), UsageError, "scale"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
