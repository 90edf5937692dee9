"""Sources over the network protocols that production uses: S3 (a local moto server) and HTTP (a local server)."""

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
        with pytest.raises((StageError, UsageError), match=r"none\.csv"):
            read(f"{url}/none.csv")
        server.shutdown()
