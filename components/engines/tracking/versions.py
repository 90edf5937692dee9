"""Which versions the registry holds, and what each is known to stand on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.paths import read_json, write_json
from components.engines.tracking.names import check_system
from components.engines.tracking.store import Store, opened, shown, store_of


class NoSuchVersion(UsageError):
    """The registry has no such model, version or alias."""


@dataclass(frozen=True)
class Receipt:
    """Names one version. The file holds no run id: equal registrations give equal bytes wherever they are made."""

    name: str
    version: int
    digest: str
    run_id: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, "digest": self.digest}

    def write(self, path: Path) -> None:
        write_json(path, self.as_dict())

    @classmethod
    def read(cls, path: Path) -> Receipt:
        try:
            fields = read_json(path)
            return cls(str(fields["name"]), int(fields["version"]), str(fields["digest"]))
        except FileNotFoundError:
            raise UsageError("No model has been registered", where=str(path), do="genworks run SYSTEM") from None
        except (ValueError, KeyError, TypeError):
            raise UsageError("The receipt is damaged", where=str(path), do="run the register stage again") from None


@dataclass(frozen=True)
class Version:
    """A registered version as the registry has it."""

    name: str
    version: int
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]
    created: str  # UTC, ISO 8601

    @property
    def digest(self) -> str:
        return self.tags.get("genworks.digest", "")

    @property
    def label(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def commit(self) -> str:
        dirty = " (with uncommitted changes)" if self.tags.get("genworks.dirty") == "true" else ""
        return self.tags.get("genworks.commit", "unknown") + dirty

    @property
    def data(self) -> dict[str, str]:
        """DVC's hashes of every upstream artefact, by path."""
        prefix = "genworks.data."
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


def version(root: Path, system: str, which: str | int = "champion") -> Version:
    """A version by number, alias (`champion`, `@previous`) or `latest`. Raises NoSuchVersion naming what there is."""
    store, system = store_of(root), check_system(system)
    with opened(store) as client:
        from mlflow.exceptions import MlflowException

        wanted = str(which).removeprefix("@")
        try:
            if wanted.isdecimal():
                found = client.get_model_version(system, wanted)
            elif wanted == "latest":
                found = max(all_versions(client, system), key=lambda one: int(one.version), default=None)
            else:
                found = client.get_model_version_by_alias(system, wanted)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}:
                raise
            found = None
        if found is None:
            raise _unknown(client, store, system, wanted)
        return _version(client, found)


def aliases(client: Any, system: str) -> dict[str, int]:
    """Alias -> version number as the registry has them now."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(system).aliases
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
            return {}
        raise
    return {alias: int(number) for alias, number in found.items()}


def find(store: Store, system: str, identity: str) -> Version | None:
    """The newest version that was registered under this identity."""
    with opened(store) as client:
        found = client.search_model_versions(f"name = '{system}' and tag.`genworks.identity` = '{identity}'")
        newest = max(found, key=lambda one: int(one.version), default=None)
        return _version(client, newest) if newest is not None else None


def _version(client: Any, found: Any) -> Version:
    number = int(found.version)
    held = tuple(sorted(alias for alias, to in aliases(client, found.name).items() if to == number))
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Version(found.name, number, found.run_id, dict(found.tags), held, created)


def all_versions(client: Any, system: str) -> list[Any]:
    """MLflow's own records of every version, in no order."""
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name = '{system}'", max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _unknown(client: Any, store: Store, system: str, wanted: str) -> NoSuchVersion:
    numbers = sorted(int(one.version) for one in all_versions(client, system))
    if not numbers:
        return NoSuchVersion(
            f"No model '{system}' is registered", where=shown(store.registry), do=f"genworks run {system}"
        )
    held = [f"{alias} = {number}" for alias, number in sorted(aliases(client, system).items())]
    return NoSuchVersion(
        f"Model '{system}' has no version or alias '{wanted}'",
        where=shown(store.registry),
        do=f"use one of the versions {numbers[0]}–{numbers[-1]}" + (f" or {', '.join(held)}" if held else ""),
    )
