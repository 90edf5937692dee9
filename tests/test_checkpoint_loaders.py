"""Checkpoints of other people, through every loader: fp32 whatever they were saved in, none of their code, nothing missing."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from components.engines.base.errors import GenworksError
from tests.checkpoint_loaders import LOADERS
from tests.translation.small import DATA, TRAIN, small

REPOSITORY = Path(__file__).parents[1]
FP16 = Path("/work/shared/bad-inputs/19_marian_fp16")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes a loader's checkpoint, once."""
    root = tmp_path_factory.mktemp("checkpoints")

    @cache
    def one(make):
        torch.manual_seed(0)
        folder = root / str(one.cache_info().currsize)
        make(folder)
        return folder

    return one


@pytest.fixture(params=LOADERS)
def loader(request):
    return LOADERS[request.param]


@pytest.fixture
def checkpoint(loader, made, tmp_path):
    """A copy to spoil."""
    return Path(shutil.copytree(made(loader.make), tmp_path / "checkpoint"))


def rewrite(folder, change):
    """Change the tensors of a folder's weights by name, in place."""
    [path] = folder.glob("*.safetensors")
    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, about)


def halved(tensors):
    for name, tensor in tensors.items():
        tensors[name] = tensor.half() if tensor.is_floating_point() else tensor


def test_what_was_saved_in_halves_is_loaded_in_fp32(loader, checkpoint):
    if loader is LOADERS["int8"]:
        pytest.skip("the halves of a whole denoiser are tried as 'quantised'")
    rewrite(checkpoint / loader.part, halved)
    config = checkpoint / loader.part / "config.json"
    if config.is_file() and "model_type" in (told := json.loads(config.read_text())):
        config.write_text(json.dumps(told | {"dtype": "float16"}))
    found = {tensor.dtype for tensor in loader.load(checkpoint).state_dict().values() if tensor.is_floating_point()}
    assert found == {torch.float32}


@pytest.mark.parametrize("damage", ["lacks", "has other shapes"])
def test_a_layer_that_is_missing_or_of_another_shape_is_refused_by_name(loader, checkpoint, damage):
    spoilt = []

    def change(tensors):
        weights = sorted(name for name, tensor in tensors.items() if tensor.dim() > 1)
        spoilt.append(weights[len(weights) // 2])
        tensor = tensors.pop(spoilt[0])
        if damage != "lacks":
            tensors[spoilt[0]] = torch.cat([tensor, tensor])

    rewrite(checkpoint / loader.part, change)
    layer = re.sub(r"\._weight_\w+$", ".weight", spoilt[0].removeprefix("features."))  # 8-bit ones have several tensors
    with pytest.raises(GenworksError, match=re.escape(layer)):
        loader.load(checkpoint)


CLASSES = ("Config", "Model", "ModelForSeq2SeqLM", "Tokenizer", "ImageProcessor", "Processor")


def with_code(folder, known, code):
    """Say in every config of the folder that its classes are in a file beside it (and that no library knows them)."""
    names = {f"Auto{name}": f"strange.Strange{name}" for name in CLASSES}
    for path in [
        *folder.rglob("config.json"),
        *folder.rglob("*_config.json"),
        *folder.rglob("preprocessor_config.json"),
    ]:
        told = json.loads(path.read_text())
        told["auto_map"] = names | {"AutoTokenizer": ["strange.StrangeTokenizer", None]}
        if not known:
            strange = {"model_type": "strange", "tokenizer_class": "StrangeTokenizer"}
            told |= {key: value for key, value in strange.items() if key in told}
        path.write_text(json.dumps(told))
        (path.parent / "strange.py").write_text(code)


def test_code_beside_a_checkpoint_never_runs_whatever_is_answered(made, tmp_path):
    ran = tmp_path / "ran"  # wherever the file is copied to
    code = f"open({str(ran)!r}, 'w').close()"
    folders = {"known": tmp_path / "known", "unknown": tmp_path / "unknown"}
    for kind, folder in folders.items():
        for name, loader in LOADERS.items():
            with_code(Path(shutil.copytree(made(loader.make), folder / name)), kind == "known", code)
    done = subprocess.run(
        [sys.executable, "-m", "tests.checkpoint_loaders", *folders.values()],
        cwd=REPOSITORY,
        input="yes\n" * 200,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.exists()
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert answers[: len(LOADERS)] == [f"{name}: loaded" for name in LOADERS]  # and nothing was asked
    assert [line.split(":")[0] for line in answers[len(LOADERS) :]] == list(LOADERS)


@pytest.mark.skipif(not FP16.is_dir(), reason="the checkpoint that a user had in fp16 is not on this machine")
def test_a_translator_saved_in_halves_is_trained_in_fp32(tmp_path):
    source = {"source": str(FP16.parent / "base.tsv"), "fields": {"source": "en", "target": "de"}}
    room = small(tmp_path, architecture={"init_from": str(FP16)}, ingest=source).run_all(*DATA, *TRAIN)
    assert {tensor.dtype for tensor in load_file(room.data / "model/model.safetensors").values()} == {torch.float32}
