"""Whatever a room's ingest reads is part of its key: tables, pictures beside them, remote objects, folders behind links."""

import shutil
import tarfile

import fsspec
import pytest
import yaml

from components.engines.base import fingerprint as fp
from tests.flows.toy_project import REPOSITORY

CAPTIONED = ["clip", "image_captioning", "text_to_image"]


class Project:
    """The project's own dvc.yaml and code with another source."""

    def __init__(self, root, system, **ingest):
        self.root, self.name = root, f"{system}-ingest"
        (root / "components").symlink_to(REPOSITORY / "components")
        shutil.copy(REPOSITORY / "dvc.yaml", root)
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params[system]["ingest"].update(ingest)
        (root / "params.yaml").write_text(yaml.safe_dump(params))

    def external(self):
        return fp.fingerprint_of(self.root, self.name)["external"]

    def changed_by(self, edit):
        """Which inputs an edit changes, by the last part of their key."""
        before = self.external()
        edit()
        after = self.external()
        return {key.rsplit(".", 1)[-1] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.fixture
def photos(tmp_path):
    """A table with two pictures beside it, one in a folder behind a link, and one that it does not name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "elsewhere").mkdir()  # a link out of the folder is refused
    (folder / "more").symlink_to(folder / "elsewhere")
    for path in (folder / "a.png", folder / "more/b.png", folder / "c.png"):
        path.write_bytes(b"1")
    (folder / "table.csv").write_text("image,caption\na.png,one\nmore/b.png,two\nnone.png,three\n../out.png,four\n")
    return folder


@pytest.fixture
def root(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.mark.parametrize("system", CAPTIONED)
def test_pictures_that_a_table_names(root, photos, system):
    project = Project(root, system, source=str(photos / "table.csv"))
    assert project.changed_by(lambda: (photos / "a.png").write_bytes(b"2")) == {"images"}
    assert project.changed_by(lambda: (photos / "more/b.png").write_bytes(b"2")) == {"images"}
    assert project.changed_by(lambda: (photos / "none.png").write_bytes(b"1")) == {"images"}
    assert project.changed_by(lambda: (photos / "c.png").write_bytes(b"2")) == set()
    more = "image,caption\na.png,one\nc.png,five\n"
    assert project.changed_by(lambda: (photos / "table.csv").write_text(more)) == {"source", "images"}
    assert project.changed_by(lambda: (photos / "c.png").write_bytes(b"3")) == {"images"}


def test_a_picture_that_a_table_names_in_full_wherever_it_is(root, photos, tmp_path):
    (tmp_path / "far.png").write_bytes(b"1")
    (photos / "table.csv").write_text(f"image,caption\na.png,one\n{tmp_path}/far.png,two\n")
    project = Project(root, "clip", source=str(photos / "table.csv"))
    assert project.changed_by(lambda: (tmp_path / "far.png").write_bytes(b"2")) == {"images"}


def test_pictures_below_a_named_folder_and_in_a_remote_store(root, photos):
    (photos / "table.csv").rename(photos.parent / "table.csv")
    project = Project(root, "clip", source=str(photos.parent / "table.csv"), images=str(photos))
    assert project.changed_by(lambda: (photos / "a.png").write_bytes(b"2")) == {"images"}
    store = fsspec.filesystem("memory")
    store.pipe({"/shelf/a.png": b"1", "/shelf/more/b.png": b"1"})
    (root / "components").unlink()
    project = Project(root, "clip", source=str(photos.parent / "table.csv"), images="memory://shelf")
    assert project.changed_by(lambda: store.pipe("/shelf/more/b.png", b"2")) == {"images"}
    assert project.changed_by(lambda: store.pipe("/shelf/c.png", b"2")) == set()


def test_clips_of_a_folder_and_the_captions_beside_them(root, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/a.mp4").write_bytes(b"1")
    (tmp_path / "clips/a.txt").write_text("one")
    project = Project(root, "text_to_video", source=str(tmp_path / "clips"))
    assert project.changed_by(lambda: (tmp_path / "clips/a.mp4").write_bytes(b"2")) == {"source"}
    assert project.changed_by(lambda: (tmp_path / "clips/a.txt").write_text("two")) == {"source"}
    assert project.changed_by(lambda: (tmp_path / "clips/b.mkv").write_bytes(b"1")) == {"source"}
    assert project.changed_by(lambda: (tmp_path / "clips/notes.md").write_text("none")) == set()


def test_clips_that_a_table_names(root, photos):
    (photos / "table.csv").write_text("clip,caption\na.png,one\n")
    project = Project(root, "text_to_video", source=str(photos / "table.csv"))
    assert project.changed_by(lambda: (photos / "a.png").write_bytes(b"2")) == {"clips"}


def test_tars_are_read_as_samples(root, tmp_path):
    def write(caption):
        (tmp_path / "0.txt").write_text(caption)
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            tar.add(tmp_path / "0.txt", "0.txt")

    write("one")
    project = Project(root, "clip", source=str(tmp_path / "*.tar"))
    assert project.changed_by(lambda: write("two")) == {"source"}


def test_a_folder_of_pairs_counts_by_the_files_that_are_read(root, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "pairs").symlink_to(tmp_path / "real")
    (tmp_path / "real/a.tsv").write_text("source\ttarget\na\tb\n")
    project = Project(root, "translation", source=str(tmp_path / "pairs"))
    assert project.changed_by(lambda: (tmp_path / "real/a.tsv").write_text("source\ttarget\nc\td\n")) == {"source"}
    assert project.changed_by(lambda: (tmp_path / "real/b.tsv").write_text("source\ttarget\nc\td\n")) == {"source"}
    assert project.changed_by(lambda: (tmp_path / "real/README.md").write_text("what this is")) == set()
    assert project.changed_by(lambda: (tmp_path / "real/.part.tsv").write_text("half")) == set()


@pytest.mark.parametrize("source", ["memory://pairs", "memory://pairs/*.tsv", "memory://pairs/a.tsv"])
def test_every_object_of_a_remote_source(root, source):
    store = fsspec.filesystem("memory")
    store.pipe("/pairs/a.tsv", b"source\ttarget\n1\t2\n")
    project = Project(root, "translation", source=source)
    assert project.changed_by(lambda: store.pipe("/pairs/a.tsv", b"source\ttarget\n3\t4\n")) == {"source"}
    beside = project.changed_by(lambda: store.pipe("/pairs/b.tsv", b"source\ttarget\n5\t6\n"))
    assert beside == (set() if source.endswith("a.tsv") else {"source"})
    store.rm("/pairs", recursive=True)


def test_a_server_that_does_not_answer_is_named_and_one_file_over_http_counts_by_its_date(root, tmp_path):
    import os
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    (tmp_path / "a.csv").write_text("source,target\n1,2\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    project = Project(root, "translation", source=f"http://127.0.0.1:{server.server_port}/a.csv")

    def replace():
        (tmp_path / "a.csv").write_text("source,target\n3,4\n")  # as long as before
        os.utime(tmp_path / "a.csv", (1_000_000_000, 1_000_000_000))

    assert project.changed_by(replace) == {"source"}
    fp.write_all(root)
    before = project.external()
    server.shutdown()
    server.server_close()
    unknown: dict[str, list[str]] = {}
    assert fp.current(root, unknown=unknown)[project.name]["external"] == before
    assert "cannot be reached" in unknown[project.name][0]
    assert "taken to be as it was" in unknown[project.name][0]


def test_a_wrong_source_stops_no_plan(root):
    project = Project(root, "clip", source="nowhere.csv")
    assert project.external()["clip.ingest.source"].startswith("refused: ")
    assert Project.external(with_params(root, limit=-3))["clip.ingest.source"] == "refused: bad params"


def with_params(root, **ingest):
    (root / "components").unlink()
    return Project(root, "clip", source="nowhere.csv", **ingest)
