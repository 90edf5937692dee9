"""What must not reach the tracking store, where everybody reads it."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
_SECRET_WORDS = {"password", "passwd", "secret", "secrets", "credential", "credentials", "apikey", "passphrase"}
_SECRET_ENDINGS = ("api_key", "access_key", "secret_key", "private_key", "token", "auth")
# `eos_token` and its kin are vocabulary.
_VOCABULARY = ("bos", "eos", "pad", "unk", "mask", "sep", "cls", "start", "end", "image", "language", "decoder_start")
_URL_LOGIN = re.compile(r"//(?:[^/@\s:]*:\S*|[^/@\s]+)@")  # up to the last @: a password may hold @ and /
_URL_SIGNATURE = re.compile(r"(?i)([?&](?:[\w-]*signature|sig|token|access_token|api_key|key|password)=)[^&\s]+")
_KEY_SHAPES = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,})")


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`; lists and empty mappings stay values."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict) and value:
            flat |= flatten(value, key)
        else:
            flat[key] = value
    return flat


def masked(value: Any, key: str = "") -> Any:
    """The same structure with secrets hidden: by the name of their key, by their place in a URL, or by their shape."""
    if isinstance(value, dict):
        return {name: masked(child, str(name)) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [masked(child, key) for child in value]
    if value is not None and value != "" and not isinstance(value, bool) and _is_secret(key):
        return HIDDEN
    if isinstance(value, str):
        value = _URL_LOGIN.sub(f"//{HIDDEN}@", value) if "://" in value else value
        value = _URL_SIGNATURE.sub(rf"\g<1>{HIDDEN}", value)
        return _KEY_SHAPES.sub(HIDDEN, value)
    return value


def _is_secret(key: str) -> bool:
    name = key.rsplit(".", maxsplit=1)[-1].lower().replace("-", "_")
    if _SECRET_WORDS & set(name.split("_")):
        return True
    if not name.endswith(_SECRET_ENDINGS):
        return False
    return not (name.endswith("token") and name.removesuffix("token").rstrip("_").endswith(_VOCABULARY))
