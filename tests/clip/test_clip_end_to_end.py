"""From nothing to a promoted scorer as a user meets it: run, run again, predict, serve."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from components.clip.serve import flat_png
from tests.translation.project_copy import copy_project, environment, genworks

pytestmark = pytest.mark.slow
SMALL = {
    "clip": {
        "architecture": {
            "vision_width": 16,
            "vision_layers": 1,
            "text_width": 16,
            "text_layers": 1,
            "attention_heads": 2,
        },
        "ingest": {"num_train": 400, "num_test": 40, "samples_per_shard": 100},
        "train": {"training": {"max_steps": 8, "warmup_steps": 2, "score_every": 4, "checkpoint_every": 4}},
        "promote": {"thresholds": {"auc_any": {"min": 0}}},
    }
}
CAPTION = "a large plain red square in the top left"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = copy_project(tmp_path_factory.mktemp("clone"), SMALL)
    done = genworks(root, "run", "clip", "--json")
    assert done.returncode == 0, done.stderr
    (root / "first.json").write_text(done.stdout)
    (root / "red.png").write_bytes(flat_png(32, (220, 40, 40)))
    return root


@pytest.mark.timeout(300)
def test_a_run_from_nothing_ends_with_a_champion_and_a_report(project):
    summary = json.loads((project / "first.json").read_text())
    assert {stage["state"] for stage in summary["stages"]} == {"done"}
    assert summary["promotions"]["clip"]["decision"] == "promoted"
    page = (project / "reports/clip/report.html").read_text()
    assert "near duplicate" in page
    assert "auc_shuffled_images" in page
    again = json.loads(genworks(project, "run", "clip", "--json").stdout)
    assert {stage["state"] for stage in again["stages"]} == {"cached"}


def test_lines_name_images_and_texts(project):
    lines = [json.dumps({"image": "red.png", "text": CAPTION}), "", json.dumps({"text": CAPTION}), "red.png"]
    done = genworks(project, "predict", "clip", "--json", text="\n".join(lines) + "\n")
    assert done.returncode == 0, done.stderr
    pair, empty, text, image = (json.loads(line)["output"] for line in done.stdout.splitlines())
    assert empty is None
    cosine = sum(a * b for a, b in zip(text["embedding"], image["embedding"], strict=True))
    assert pair["score"] == pytest.approx(cosine, abs=1e-5)


def test_the_model_is_served_over_http_and_takes_bytes_not_paths(project):
    port = str(random.randint(20000, 40000))
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/clip@champion",
        "--env-manager",
        "local",
    ]
    server = subprocess.Popen(
        [*command, "-p", port],
        cwd=project,
        env=environment() | {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"},
        start_new_session=True,
    )
    try:
        image = base64.b64encode((project / "red.png").read_bytes()).decode()
        asked = [{"image": image, "text": CAPTION}, {"image": base64.b64encode(b"red.png").decode(), "text": CAPTION}]
        answer = ask(port, {"dataframe_records": asked}, server)["predictions"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert -1 <= answer[0]["score"] <= 1
    assert answer[1]["problem"].startswith("not an image")


def ask(port, body, server):
    deadline = time.monotonic() + 120
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    while True:
        assert server.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server did not answer"
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            time.sleep(0.5)
