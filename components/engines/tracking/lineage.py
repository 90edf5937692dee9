"""The chain behind a model version: its run, its code, its params, and every artefact down to ingest's source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.engines.base.paths import read_json
from components.engines.tracking import ledger
from components.engines.tracking.provenance import accepted_changes
from components.engines.tracking.scratch import scratch
from components.engines.tracking.secrets import flatten
from components.engines.tracking.stored import RECORD, evidence_folder, packed_folder
from components.engines.tracking.versions import version


def lineage(root: Path, system: str, which: str | int = ledger.CHAMPION) -> dict[str, Any]:
    """What a version (number, alias or `latest`) stands on, from the record it was registered with, checked for changes.

    `{system, version, aliases, created, run_id, digest, pipeline, git, metrics, environment, stages, upstream, evidence,
    ledger}`: `stages` have command, params, code digest and accepted changes (`accepted` before the version was registered,
    `accepted_since` after it: the tree has moved on without a rerun), latest first; `upstream`
    lists artefacts with their DVC md5 in the same order, external sources with `stage` None. `ledger` are the decisions
    about this version. Raises DamagedVersion if its evidence or its files are not those that were registered.
    """
    found = version(root, system, which)
    with scratch(root, "lineage") as temporary:
        record = read_json(evidence_folder(root, found, temporary / "evidence") / RECORD)
        packed_folder(root, found, temporary / "packed", copy=False)  # what is said of it must be true of its files
    stages = [facts | {"accepted_since": _accepted_since(root, facts)} for facts in record["stages"]]
    decisions = [line.as_dict() for line in ledger.history(root, system) if line.version == found.version]
    return {
        "system": system,
        "version": found.version,
        "aliases": list(found.aliases),
        "created": found.created,
        "run_id": found.run_id,
        "digest": found.digest,
        **{name: record[name] for name in ("pipeline", "git", "metrics", "environment", "upstream", "evidence")},
        "stages": stages,
        "ledger": decisions,
    }


def _accepted_since(root: Path, facts: dict[str, Any]) -> list[dict[str, str]]:
    return [one for one in accepted_changes(root, facts["stage"]) if one not in facts["accepted"]]


def format_lineage(chain: dict[str, Any]) -> str:
    """The chain as indented text for a terminal."""
    names = f" ({', '.join(chain['aliases'])})" if chain["aliases"] else ""
    dirty = ", with uncommitted changes" if chain["git"]["dirty"] else ""
    lines = [
        f"{chain['system']} version {chain['version']}{names}, registered {chain['created']}",
        f"  model   sha256 {chain['digest'][:16]}, served by {chain['pipeline']}",
        f"  run     {chain['run_id']}",
        f"  code    commit {chain['git']['commit'][:12]}{dirty}",
        f"  python  {chain['environment']['python']} on {chain['environment']['platform']}",
        "  metrics " + (", ".join(f"{name} {value:.4g}" for name, value in chain["metrics"].items()) or "none"),
    ]
    for facts in chain["stages"]:
        lines += _stage_lines(facts, chain["upstream"])
    for one in chain["upstream"]:
        if one["stage"] is None:
            lines.append(f"  source  {one['path']}  {_hash(one)}")
    for line in chain["ledger"]:
        lines.append(f"  ledger  {line['when']} {line['action']} by {line['who']}: {line['reason']}")
    return "\n".join(lines)


def _stage_lines(facts: dict[str, Any], upstream: list[dict[str, Any]]) -> list[str]:
    lines = [f"  stage   {facts['stage']}  code {(facts['code'] or 'unknown')[:12]}"]
    for key, section in facts["params"].items():
        values = flatten(section) if isinstance(section, dict) else {"": section}
        lines.append(f"            params {key}: " + ", ".join(f"{name}={value}" for name, value in values.items()))
    lines += [f"            outside {key}: {digest}" for key, digest in facts["external"].items()]
    lines += [f"            accepted by {one['who']} on {one['when']}: {one['why']}" for one in facts["accepted"]]
    lines += [
        f"            accepted since by {one['who']} on {one['when']}: {one['why']}" for one in facts["accepted_since"]
    ]
    return lines + [f"            → {one['path']}  {_hash(one)}" for one in upstream if one["stage"] == facts["stage"]]


def _hash(artefact: dict[str, Any]) -> str:
    return f"md5 {artefact['md5']}" if artefact.get("md5") else "no hash"
