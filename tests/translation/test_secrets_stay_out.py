"""Secrets planted in URLs and in the environment are in no store after refusals, a failure and a run that ends well."""

import socket
import sys
import zlib
from pathlib import Path

import pytest
import yaml

from tests.translation import project_copy

# Put together here: the clone holds this file, too.
PASSWORD, TOKEN, KEY = ("-".join(("planted", word, "7391")) for word in ("password", "token", "key"))
SECRETS = [secret.encode() for secret in (PASSWORD, TOKEN, KEY)]


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A clone whose secret key stands in the environment, and temporary files beside it."""
    for name, value in {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": KEY, "HF_TOKEN": TOKEN}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    (tmp_path / "clone").mkdir()
    return project_copy.copy_project(tmp_path / "clone")


def stores_with_secrets(folder: Path) -> list[str]:
    """Every file below the folder that holds a planted secret, as it stands or as git packs it."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        data = path.read_bytes()
        if path.parent.parent.name == "objects":
            data = zlib.decompress(data)
        if any(secret in data for secret in SECRETS):
            found.append(str(path.relative_to(folder)))
    return found


def run(project: Path, source: str | None = None) -> tuple[int, str]:
    told = [] if source is None else ["--set", f"translation.ingest.source={source}"]
    done = project_copy.genworks(project, "run", "translation", "--until", "ingest", *told)
    return done.returncode, done.stdout + done.stderr


def test_no_store_holds_a_secret(project, closed_port, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    said = []
    for source in (f"s3://me:{PASSWORD}@bucket/pairs.csv", f"https://host/pairs.csv?token={TOKEN}"):
        code, text = run(project, source)
        assert (code, "holds" in text) == (2, True), text
        said.append(text)
    # Written by hand: the user's own file keeps it, and nothing else learns it.
    kept = (project / "params.yaml").read_text()
    params = yaml.safe_load(kept)
    params["translation"]["ingest"]["source"] = f"s3://me:{PASSWORD}@bucket/pairs.csv"
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    code, text = run(project)
    assert (code, "holds" in text) == (2, True), text
    stage = project_copy.attempt(project, sys.executable, "-m", "components.translation.ingest")
    assert stage.returncode == 2
    said += [text, stage.stdout + stage.stderr]
    (project / "params.yaml").write_text(kept)

    code, text = run(project, "s3://bucket/pairs.csv")  # a store that does not answer, with its key in the environment
    assert code != 0
    assert "cannot be reached" in text
    assert (project / ".work").is_dir()
    code, done = run(project, "sample")
    assert code == 0, done
    assert (project / "dvc.lock").is_file()
    assert not any(secret.decode() in text for text in [*said, text, done] for secret in SECRETS)
    assert stores_with_secrets(project.parent) == []
