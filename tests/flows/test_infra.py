"""Files for machines we do not have: parsed, and held against what they refer to."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from flows import settings
from tests.flows.toy_project import REPOSITORY

INFRA = REPOSITORY / "infra"
CONSTRAINTS = dict(re.findall(r"^([\w.-]+)==(\S+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.yaml")), ids=lambda path: str(path.relative_to(INFRA)))
def test_every_yaml_file_parses(path):
    assert documents(path)


@pytest.mark.parametrize("path", sorted(INFRA.rglob("*.json")), ids=lambda path: path.name)
def test_every_json_file_parses(path):
    assert json.loads(path.read_text())


@pytest.mark.parametrize("name", ["laptop", "gpu", "cluster"])
def test_profiles_fit_the_params(name):
    changes = settings.profile(REPOSITORY, name)
    assert changes, "a profile that changes nothing is no profile"
    known = settings.known_keys(REPOSITORY)
    for key, value in changes:
        settings._fitting(key, known.get(key), value, INFRA)


def test_kustomization_lists_every_manifest_and_no_secret():
    folder = INFRA / "kubernetes"
    listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
    there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
    assert listed == there


def test_manifests_refer_to_volumes_settings_and_secrets_that_exist():
    folder = INFRA / "kubernetes"
    made = {
        (d["kind"], d["metadata"]["name"]) for path in folder.glob("*.yaml") for d in documents(path) if "metadata" in d
    }
    text = "\n".join(path.read_text() for path in [*folder.glob("*.yaml"), INFRA / "prefect/kubernetes.json"])
    assert set(re.findall(r'claimName"?: "?([\w-]+)', text)) <= {
        name for kind, name in made if kind == "PersistentVolumeClaim"
    }
    assert set(re.findall(r'secretRef"?: {"?name"?: "?([\w-]+)', text)) <= {
        name for kind, name in made if kind == "Secret"
    }
    assert set(re.findall(r'configMapRef"?: {"?name"?: "?([\w-]+)', text)) <= {
        n for kind, n in made if kind == "ConfigMap"
    }
    assert set(re.findall(r"secretKeyRef: {name: ([\w-]+)", text)) <= {name for kind, name in made if kind == "Secret"}


def test_the_cluster_may_grow_to_what_its_users_are_told():
    group = documents(INFRA / "kubernetes/ray.yaml")[0]["spec"]["workerGroupSpecs"][0]
    asked = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    most = {"GPU": group["maxReplicas"] * asked["nvidia.com/gpu"], "CPU": group["maxReplicas"] * int(asked["cpu"])}
    told = documents(INFRA / "kubernetes/settings.yaml")[0]["data"]["GENWORKS_CLUSTER_LIMITS"]
    assert told == ",".join(f"{name}={amount}" for name, amount in most.items())


def test_versions_are_those_of_the_constraints():
    ray = documents(INFRA / "kubernetes/ray.yaml")[0]
    assert ray["spec"]["rayVersion"] == CONSTRAINTS["ray"]
    assert yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["prefect-version"] == CONSTRAINTS["prefect"]


def test_compose_opens_no_port_to_the_world_and_mounts_files_that_exist():
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (INFRA / source).is_file()


def test_prefect_asks_for_a_login_and_no_password_stands_on_a_command_line():
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    server, worker = services["prefect"]["environment"], services["worker"]
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == worker["environment"]["PREFECT_API_AUTH_STRING"]
    assert server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://localhost:4200"
    assert "flows.worker" in str(worker["command"])
    assert not [name for name, one in services.items() if "PASSWORD" in str(one.get("command"))]
    pods = [document["spec"]["template"]["spec"] for path in ("prefect", "mlflow")
            for document in documents(INFRA / f"kubernetes/{path}.yaml") if document["kind"] == "Deployment"]  # fmt: skip
    containers = [container for pod in pods for container in pod["containers"]]
    assert not [c for c in containers if "$(" in str(c.get("args"))]
    server, worker = (c for c in containers if c["name"] in ("prefect", "worker"))
    assert any(variable["name"] == "PREFECT_SERVER_API_AUTH_STRING" for variable in server["env"])
    assert worker["args"] == ["python", "-m", "flows.worker", "--with-healthcheck"]


def test_compose_settings_are_in_the_example():
    wanted = set(re.findall(r"\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    given = {line.split("=")[0] for line in (INFRA / ".env.example").read_text().splitlines() if "=" in line}
    assert wanted == given
