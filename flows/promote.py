"""The gate between a registered version and the alias `champion`: thresholds, paired bootstrap, slices, loading check.

Plain functions, called by the flow and by `genworks promote`, `rollback`, `history`. Every verdict leaves a line in the
ledger, and a copy for the report in `reports/<system>/verdict.json`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.params import load_section
from components.engines.base.paths import digest_file, digest_value, read_json, write_json
from components.engines.tracking import ledger
from components.engines.tracking.registry import NoSuchVersion, Receipt, Version, version
from components.engines.tracking.standing import champion_now
from components.engines.tracking.store import shown, store_of
from flows.gate import Gate, Promotion, Verdict, check, named, praise


def promote(system: str, gate: Gate | None = None, root: Path = Path(), *, reconsider: bool = False) -> Verdict:
    """Put the version that `data/<system>/receipt.json` names to the gate; move the alias if it passes.

    `gate` overrides params: `enforce` decides, `dry-run` only says what it would decide, `off` promotes unseen; all three
    leave a ledger line. The champion's own bytes are `unchanged`: nothing moves. A model that was rolled back stays out
    unless `reconsider`. Raises UsageError for a bad configuration, StageError if a check itself cannot run.
    """
    root = root.resolve()
    params = load_section(Promotion, f"{system}.promote", root / "params.yaml")
    gate = gate or params.gate
    key = _judged_key(system, root, gate)
    with ledger.exclusive(root, system):
        lines = ledger.history(root, system)  # first of all: it settles a move that was interrupted
        candidate = _candidate(system, root)
        champion = _champion_version(system, root)
        verdict = Verdict(system, gate, "", named(candidate), named(champion) if champion else None)
        if champion is not None and champion.digest == candidate.digest:
            _repeat(verdict, lines, champion.digest)
        else:
            back = None if reconsider or gate == "off" else ledger.rolled_back(lines, candidate.digest)
            if back is not None:
                why = back.reason or "no reason given"
                verdict.reasons.append(f"{back.who} rolled this model back on {back.when} ({why})")
            _decide(verdict, params, root, candidate, champion, lines)
        standing = champion_now(root, system)
    write_json(root / "reports" / system / "verdict.json", verdict.as_dict())
    write_json(_judged_path(system, root), {"receipt": key, "champion": standing, "verdict": verdict.as_dict()})
    return verdict


def rollback(system: str, root: Path = Path(), *, to: int | None = None, reason: str = "") -> dict[str, Any]:
    """Give `champion` back to `previous` (or to version `to`), on the record; says what that version stands on.

    Returns `{"champion": {version, digest, code, data}, "from": version | None, "ledger_line": seq}`.
    """
    root = root.resolve()
    with ledger.exclusive(root, system):
        problems = ledger.verify(root, system)  # first of all: it settles a move that was interrupted
        left = _champion_version(system, root)
        try:
            target = version(root, system, ledger.PREVIOUS if to is None else to)
        except NoSuchVersion as error:
            if to is not None:
                raise
            raise UsageError(
                f"{system} has no previous champion to go back to", do=f"genworks rollback {system} --to VERSION"
            ) from error
        if left is not None and left.version == target.version and not problems:
            raise UsageError(f"Version {target.version} is the champion of {system} already")
        evidence = {"repairs": problems} if problems else {}
        line = ledger.move(root, target, "rollback", evidence=evidence, reason=reason)
    standing = {**named(target), "code": target.commit, "data": target.data}
    return {"champion": standing, "from": left.version if left else None, "ledger_line": line.seq}


def champion(system: str, root: Path) -> str | None:
    """The champion's version, None if there is none; asks no database that does not exist yet."""
    found = champion_now(root, system)
    return str(found["version"]) if found else None


def judged(system: str, root: Path) -> dict[str, Any] | None:
    """The verdict on the present receipt, against the present champion, under the present gate params, if there was one.

    The registry is asked who the champion is, so that a rollback or a lost registry is noticed; MLflow is not imported for a
    local one.
    """
    path = _judged_path(system, root)
    if not path.exists():
        return None
    try:
        noted = read_json(path)
        verdict, standing = noted["verdict"], noted["champion"]
        same = noted["receipt"] == _judged_key(system, root) and standing == champion_now(root, system)
        stands = verdict["decision"] not in {"promoted", "unchanged"} or standing == verdict["candidate"]
        return verdict if same and stands else None
    except (ValueError, KeyError, TypeError):  # a damaged note only means judging again
        return None


def _judged_path(system: str, root: Path) -> Path:
    return root / ".work" / "promotion" / f"{system}.json"


def _judged_key(system: str, root: Path, gate: Gate | None = None) -> str:
    """What a verdict hangs on: the receipt, the gate and its params, and the registry it was given in."""
    receipt = root / "data" / system / "receipt.json"
    params = load_section(Promotion, f"{system}.promote", root / "params.yaml")
    store = store_of(root)
    file = Path(store.registry.removeprefix("sqlite:///"))
    there = not store.registry.startswith("sqlite:///") or file.exists()
    seen = [
        digest_file(receipt) if receipt.exists() else None,
        gate or params.gate,
        params.model_dump(),
        shown(store.registry),
        there,
    ]
    return digest_value(seen)


def _candidate(system: str, root: Path) -> Version:
    """The receipt's version, which must be the very one this registry holds."""
    path = root / "data" / system / "receipt.json"
    receipt = Receipt.read(path)
    again = f"register it here: dvc repro --force --single-item {system}-register"
    try:
        found = version(root, receipt.name, receipt.version)
    except NoSuchVersion as error:
        raise UsageError(
            f"The receipt names a version that is not in this registry: {error.what}", where=str(path), do=again
        ) from error
    if found.digest != receipt.digest:
        raise UsageError(
            f"The receipt's version {receipt.version} is another model in this registry", where=str(path), do=again
        )
    return found


def _champion_version(system: str, root: Path) -> Version | None:
    try:
        return version(root, system, ledger.CHAMPION)
    except NoSuchVersion:
        return None


def _repeat(verdict: Verdict, lines: list[ledger.Line], digest: str) -> None:
    """The candidate is the champion: what the gate measured when it last judged this model still stands, and is shown."""
    verdict.decision = "unchanged"
    verdict.reasons = ["it is the champion's model, byte for byte"]
    judged = [one for one in lines if one.digest == digest and one.evidence.get("checks")]
    if judged:
        verdict.checks, verdict.ledger_line = judged[-1].evidence["checks"], judged[-1].seq
        verdict.reasons.append(f"judged on {judged[-1].when}")


def _decide(
    verdict: Verdict,
    params: Promotion,
    root: Path,
    candidate: Version,
    champion: Version | None,
    lines: list[ledger.Line],
) -> None:
    """Run the checks the gate asks for, unless it is decided already, and put the outcome on record."""
    if verdict.gate != "off" and not verdict.reasons:
        with tempfile.TemporaryDirectory(prefix="genworks-gate-") as temporary:
            check(verdict, params, root, candidate, champion, lines, Path(temporary))
    evidence = {
        "gate": verdict.gate,
        "checks": verdict.checks,
        "params": params.model_dump(),
        "reasons": verdict.reasons,
        "remarks": verdict.remarks,
        "alpha": verdict.checks.get("alpha"),
    }
    seen = lines[-1].seq if lines else 0  # a decision that came meanwhile may have spent of alpha
    reason = "; ".join(verdict.reasons)
    if verdict.gate == "dry-run":
        verdict.decision = "would refuse" if verdict.reasons else "would promote"
        line = ledger.note(
            root, candidate, "dry-run", evidence=evidence, reason=f"{verdict.decision} {reason}".strip(), seen=seen
        )
    elif verdict.reasons:
        verdict.decision = "refused"
        line = ledger.note(root, candidate, "refuse", evidence=evidence, reason=reason, seen=seen)
    else:
        verdict.decision = "promoted"
        reason = "gate off: promoted unseen" if verdict.gate == "off" else praise(verdict, params)
        expected = champion.version if champion else None
        line = ledger.move(root, candidate, "promote", evidence=evidence, reason=reason, expected=expected, seen=seen)
    verdict.ledger_line = line.seq
