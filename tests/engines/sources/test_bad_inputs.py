"""The files of shared/bad-inputs, each with what is right for it (see their README.md)."""

from pathlib import Path

import numpy as np
import pytest

from components.clip.clean import Clean as CleanImages
from components.clip.clean import clean as clean_images
from components.clip.ingest import Ingest as IngestImages
from components.clip.ingest import ingest as ingest_images
from components.engines.base.errors import UnusableRecords, UsageError
from components.engines.base.paths import read_json
from components.engines.base.stage import StageContext
from components.engines.images.decode import Limits, decode_image
from components.engines.shards.manifest import read_manifest
from components.translation.clean import Clean, clean
from components.translation.ingest import Ingest, ingest

FILES = Path(__file__).resolve().parents[4] / "shared/bad-inputs"
pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="the shared bad inputs are not beside this checkout")


def counts(system, tmp_path, name, cleaning, **params):
    """(kept by ingest, its quarantined, kept by clean)"""
    of_pictures = system == "clip"
    params = {"source": str(FILES / name), **params}
    (ingest_images if of_pictures else ingest)(
        (IngestImages if of_pictures else Ingest).model_validate(params), tmp_path / "read"
    )
    funnel = read_manifest(tmp_path / "read").funnel
    context = StageContext(system, "clean", "key", tmp_path / "work", tmp_path, {}, {})
    context.work.mkdir()
    (clean_images if of_pictures else clean)(
        (CleanImages if of_pictures else Clean).model_validate(cleaning),
        context,
        tmp_path / "read",
        tmp_path / "cleaned",
        tmp_path / "cleaning.json",
    )
    return funnel.kept, dict(funnel.quarantined), read_json(tmp_path / "cleaning.json")["kept"]


GERMAN = {"target_language": "de"}
CHINESE = {"target_language": "zh", "target_script": "CJK"}


@pytest.mark.parametrize(
    ("name", "fields", "text", "wanted"),
    [
        ("base.tsv", ("en", "de"), {}, (400, {}, 400)),
        ("02a_binary_text_columns.parquet", ("en", "de"), {}, (300, {}, 300)),
        ("02b_object_instead_of_text.jsonl", ("en", "de"), {}, (285, {"no text": 15}, 285)),
        ("03_english_chinese.tsv", ("en", "zh"), {}, (400, {}, 400)),
        ("04a_semicolon.csv", ("source", "target"), {}, (400, {}, 400)),
        ("04d_cp1252.csv", ("en", "de"), {"encoding": "cp1252"}, (400, {}, 400)),
        ("05_excel_quoted_cells.tsv", ("en", "de"), {}, (400, {}, 400)),
    ],
)
def test_texts(tmp_path, name, fields, text, wanted):
    columns = dict(zip(("source", "target"), fields, strict=True))
    cleaning = CHINESE if "zh" in fields else GERMAN
    assert counts("translation", tmp_path, name, cleaning, fields=columns, text=text) == wanted


@pytest.mark.parametrize(
    ("name", "fields", "kind", "said"),
    [
        ("01a_stray_quotes_swallow_299_rows.csv", ("en", "de"), UnusableRecords, r"300 of 400.*line 42 .* line 341"),
        ("04a_semicolon.csv", ("en", "de"), UsageError, r"`fields: \{source: source\}`"),
        ("04d_cp1252.csv", ("en", "de"), UnusableRecords, r"Kater hört.*translation\.ingest\.text\.encoding=cp1252"),
    ],
)  # fmt: skip
def test_texts_that_are_refused_say_what_to_do(tmp_path, name, fields, kind, said):
    columns = dict(zip(("source", "target"), fields, strict=True))
    with pytest.raises(kind, match=said):
        counts("translation", tmp_path, name, GERMAN, fields=columns)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("06_img2dataset_folder", (240, {}, 240)),
        ("07_dots_in_names.tar", (260, {}, 260)),
        ("09_unsorted_members.tar", (200, {}, 200)),
        ("11a_concatenated.tar", (300, {}, 300)),
        ("12a_latin1_member_name.tar", (199, {"broken UTF-8": 1}, 199)),
        ("14a_exif_stops_stage.tar", (200, {}, 200)),
        ("15_nested_metadata_csv", (260, {}, 260)),
        ("17_nfd_names", (200, {}, 200)),
    ],
)
def test_pictures(tmp_path, name, wanted):
    fields = {"image": "file_name", "caption": "text"} if name.startswith("15") else {}
    assert counts("clip", tmp_path, name, {}, fields=fields) == wanted


def test_floats_from_0_to_1_are_no_black_picture():
    greys = np.asarray(decode_image((FILES / "18_float_0_to_1.tif").read_bytes(), Limits()))
    assert greys.max() > 200
    assert len(np.unique(greys)) > 50


def test_a_checkpoint_in_half_precision_is_loaded_in_full():
    import torch
    from safetensors import safe_open

    from components.translation.networks.marian import load

    with safe_open(FILES / "19_marian_fp16/model.safetensors", "pt") as saved:
        assert {saved.get_tensor(name).dtype for name in saved.keys()} >= {torch.float16}  # noqa: SIM118
    assert {parameter.dtype for parameter in load(FILES / "19_marian_fp16").parameters()} == {torch.float32}
