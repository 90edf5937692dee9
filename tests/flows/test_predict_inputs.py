"""What `predict` is given and cannot answer: refused at once, before any model is loaded."""

from __future__ import annotations

import os

import pytest

from components.engines.base.errors import UsageError
from components.engines.tracking.predict import batches
from flows.commands import predict


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/proc/self/mem", "cannot be read"),
        ("/dev/zero", "a device"),
        ("nosuch.txt", "does not exist"),
        (".", "a folder"),
    ],
)
def test_a_file_without_lines_is_refused(name, said):
    with pytest.raises(UsageError, match=said):
        predict._open(name)


def test_a_file_of_lines_is_opened(tmp_path):
    (tmp_path / "lines").write_text("one\n")
    descriptor = predict._open(str(tmp_path / "lines"))
    assert os.read(descriptor, 10) == b"one\n"
    os.close(descriptor)


def test_input_that_fails_while_it_is_read_is_raised_rather_than_waited_for():
    def lines():
        yield "one\n"
        raise OSError(5, "Input/output error")

    read = batches(lines(), 4)
    with pytest.raises(OSError, match="Input/output"):
        list(read)


def test_an_out_that_cannot_be_written_is_refused_before_the_model_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    predict.refuse_unwritable(tmp_path / "new/folder/picture.png")
    for out, said in ((tmp_path, "names a folder"), (tmp_path / "file/picture.png", "cannot be written there")):
        with pytest.raises(UsageError, match=said):
            predict.refuse_unwritable(out)
