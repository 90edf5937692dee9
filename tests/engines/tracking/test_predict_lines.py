"""What a line asks of a model, and how an answer is shown."""

from types import SimpleNamespace

import pytest
from mlflow.types import ColSpec, Schema

from components.engines.tracking.predict import _shown, answer, numbered, record_of, written

BOTH = {"image": "binary", "text": "string"}


def test_a_bare_line_is_the_first_field(tmp_path):
    (tmp_path / "a.png").write_bytes(b"bytes")
    assert record_of("{not json", {"text": "string"}, tmp_path) == {"text": "{not json"}
    assert record_of('{"text": 1}', {"text": "string"}, tmp_path) == {"text": '{"text": 1}'}
    assert record_of("a.png", BOTH, tmp_path) == {"image": b"bytes"}


def test_a_model_with_several_fields_takes_objects_and_reads_files_for_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"bytes")
    assert record_of('{"image": "a.png", "text": "a.png"}', BOTH, tmp_path) == {"image": b"bytes", "text": "a.png"}
    assert record_of('{"text": "x", "image": null}', BOTH, tmp_path) == {"text": "x", "image": None}
    assert record_of(f'{{"image": "{tmp_path}/a.png"}}', BOTH, tmp_path / "elsewhere") == {"image": b"bytes"}


def test_whole_numbers_are_floats_where_the_column_is_and_stay_whole_elsewhere(tmp_path):
    fields = {"prompt": "string", "seed": "double", "count": "long", "sure": "double"}
    record = record_of('{"prompt": "x", "seed": 3, "count": 3, "sure": null}', fields, tmp_path)
    assert record == {"prompt": "x", "seed": 3.0, "count": 3, "sure": None}
    assert [type(record[name]) for name in ("seed", "count")] == [float, int]


def test_what_cannot_be_asked_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"no field picture \(it has image, text\)"):
        record_of('{"picture": "a.png"}', BOTH, tmp_path)
    with pytest.raises(OSError, match=r"gone\.png"):
        record_of('{"image": "gone.png"}', BOTH, tmp_path)
    with pytest.raises(ValueError, match="Expecting"):
        record_of("{oops", BOTH, tmp_path)
    with pytest.raises(ValueError, match="no regular file"):
        record_of("/dev/zero", BOTH, tmp_path)


class Model:
    """What MLflow loads, of two fields; it answers with what it was asked."""

    metadata = SimpleNamespace(
        get_input_schema=lambda: Schema([ColSpec("string", "prompt"), ColSpec("double", "seed", required=False)]),
        get_output_schema=lambda: Schema([ColSpec("string", "prompt"), ColSpec("string", "problem")]),
    )

    def predict(self, table):
        return [{"prompt": row["prompt"], "problem": None if row["prompt"] else "empty"} for _, row in table.iterrows()]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "empty"),
        ("{oops", "bad JSON"),
        ('{"a":' + "[" * 100_000, "nested too deeply"),
        ('{"prompt": 3}', "prompt must be a string, not 3"),
        ('{"prompt": "x", "seed": true}', "seed must be a double"),
        (r'{"prompt": "\ud800"}', "surrogates not allowed"),
    ],
)
def test_a_bad_line_is_its_own_problem_and_its_neighbours_are_answered(tmp_path, bad, why):
    first, problem, last = answer(Model(), ["a", bad, "b"], tmp_path)
    assert (first["prompt"], last["prompt"]) == ("a", "b")
    assert why in problem["problem"]
    assert not problem["prompt"]


def test_a_missing_file_is_the_problem_of_the_line_that_names_it(tmp_path):
    (tmp_path / "a.png").write_bytes(b"bytes")
    model = SimpleNamespace(
        metadata=SimpleNamespace(
            get_input_schema=lambda: Schema([ColSpec("binary", "image")]), get_output_schema=lambda: None
        ),
        predict=lambda table: [{"size": len(image)} for image in table["image"]],
    )
    gone, there, empty = answer(model, ["gone.png", "a.png", ""], tmp_path)
    assert gone == {"problem": f"{tmp_path}/gone.png cannot be read: No such file or directory"}
    assert (there, empty) == ({"size": 5}, {"size": 0})


def test_an_answer_without_text_shows_its_first_value():
    assert _shown({"score": 0.5, "embedding": None}) == "0.5"
    assert _shown({"score": None, "embedding": [1.0, 2.0]}) == "[1.0, 2.0]"
    assert _shown({"score": None, "problem": "not an\nimage"}) == "not an image"
    assert _shown({}) == ""


def test_bytes_of_an_answer_go_to_a_file(tmp_path):
    path = tmp_path / "new/picture.png"
    assert written({"image": b"png", "prompt": "a dog"}, path) == {"image": str(path), "prompt": "a dog"}
    assert path.read_bytes() == b"png"
    assert written({"image": None, "refused": "violence"}, path) == {"image": None, "refused": "violence"}
    assert [numbered(path, n).name for n in (1, 2, 3)] == ["picture.png", "picture-2.png", "picture-3.png"]


def test_an_answer_of_bytes_alone_says_how_to_keep_it():
    assert _shown({"image": b"1234"}) == "4 bytes (--out FILE)"
    assert _shown({"prompt": "a dog", "image": b"1234"}) == "4 bytes (--out FILE)"
    assert _shown({"refused": "violence", "image": b"1234"}) == "violence"


def test_what_only_python_takes_for_json_is_none(tmp_path):
    with pytest.raises(ValueError, match="NaN is no JSON"):
        record_of('{"text": "a dog", "fps": NaN}', {"text": "string", "fps": "double"}, tmp_path)
