"""Sources over the network protocols that production uses: S3 (a local moto server) and HTTP (a local server)."""

import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas
import pytest

from components.engines.base.errors import StageError, UsageError
from components.engines.base.funnel import Funnel
from components.engines.sources.records import read_records


def read(url, **fields):
    return list(read_records(url, fields=fields, funnel=Funnel(), on_bad=print))


@pytest.fixture
def s3(monkeypatch):
    """A bucket named `data` behind AWS_ENDPOINT_URL, as MinIO would be."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="data")
    s3fs.S3FileSystem.clear_instance_cache()
    yield client
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_s3_file_glob_and_folder(s3):
    s3.put_object(Bucket="data", Key="pairs/b.csv", Body=b"en,de\nc,d\n")
    s3.put_object(Bucket="data", Key="pairs/a.parquet", Body=pandas.DataFrame({"en": ["a"], "de": ["b"]}).to_parquet())
    assert read("s3://data/pairs/b.csv", source="en") == [{"source": "c"}]
    assert read("s3://data/pairs/*.csv", source="en") == [{"source": "c"}]
    assert read("s3://data/pairs", source="en") == [{"source": "a"}, {"source": "c"}]
    with pytest.raises(UsageError, match="does not exist"):
        read("s3://data/none.csv")


def test_http_file_and_its_absence(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert read(f"{url}/a.csv?version=2") == [{"x": "1"}]
        with pytest.raises(StageError, match=r"does not exist.*none\.csv"):
            read(f"{url}/none.csv")
        server.shutdown()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]  # nobody listens


def test_a_server_that_does_not_answer(closed_port):
    with pytest.raises(StageError, match=r"cannot be reached.*a\.csv.*network") as caught:
        read(f"http://127.0.0.1:{closed_port}/a.csv")
    assert "\n" not in str(caught.value)


def test_a_store_that_does_not_answer_or_lets_nobody_in(closed_port, monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port}")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StageError, match=r"cannot be reached.*s3://data/a\.csv.*credentials"):
        read("s3://data/a.csv")
    s3fs.S3FileSystem.clear_instance_cache()
