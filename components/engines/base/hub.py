"""Checkpoints and data sets of the Hugging Face hub are named with their commit: a bare name is another file tomorrow."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from components.engines.base.errors import UsageError
from components.engines.base.params import Params

log = logging.getLogger("genworks")

KEY = "init_from"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Weights are read as safetensors only; the rest is what tokenizers, processors and pipelines are configured by.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.spm", "*.jinja"]
_UNWANTED = ["*.fp16.safetensors", "*non_ema*", "*-pruned*.safetensors"]


def require_commit(name: str, revision: str | None, where: str) -> None:
    """Raise UsageError unless `revision` is a full commit: branches and tags move."""
    if revision is None or not _COMMIT.fullmatch(revision):
        known = cached_commit(name)
        at = f"at {revision}" if revision else "without its commit"
        raise UsageError(
            f"{where} names {name} on the hub {at}, so what is read may change and nobody would notice",
            where="params.yaml",
            do=f"write {name}@{known or 'COMMIT'}"
            + ("" if known else " (40 letters and digits, in `Files` → `History` of its page)")
            + "; if a folder was meant, correct its path",
        )


def cached_commit(name: str) -> str | None:
    """The commit of the copy on this machine, if there is one."""
    from huggingface_hub import constants

    ref = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs/main"
    return ref.read_text().strip() if ref.is_file() else None


def with_checkpoints(params: Params, key: str, root: Path) -> Params:
    """The params with every `init_from` that names a checkpoint on the hub (`owner/name@commit`) replaced by a local folder.

    Raises UsageError for one without its commit. One that cannot be fetched is said and left: what loads it will refuse it.
    """
    changed: dict[str, Any] = {}
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, Params):
            inner = with_checkpoints(value, f"{key}.{name}", root)
            if inner is not value:
                changed[name] = inner
        elif name == KEY and isinstance(value, str) and (repository := hub_name(value, root)):
            changed[name] = _fetched(*repository, f"{key}.{name}")
    return params.model_copy(update=changed) if changed else params


def hub_name(value: str, root: Path) -> tuple[str, str | None] | None:
    """(name, revision) of what can only be the hub's; None for a path, there or not."""
    name, _, revision = value.partition("@")
    if (root / value).exists() or not _NAME.fullmatch(name) or name.startswith("."):
        return None
    return name, revision or None


def _fetched(name: str, revision: str | None, where: str) -> str:
    require_commit(name, revision, where)
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, revision=revision, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
    except (OSError, ValueError, RuntimeError) as error:  # huggingface_hub's own errors stand on these
        log.warning("%s: %s@%s cannot be fetched: %s", where, name, revision, " ".join(str(error).split()))
        return f"{name}@{revision}"
