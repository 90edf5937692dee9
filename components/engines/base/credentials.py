"""Credentials inside URLs: refused where params are read, hidden where a library's message repeats one.

Params are copied to dvc.lock, DVC's run cache, the tracking store and reports. What stands there cannot be taken back.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from components.engines.base.errors import UsageError

HIDDEN = "***"
# A user without a password is an address on these (`sftp://me@host`, `abfs://container@account`), a token elsewhere.
_USERS = ("sftp", "ssh", "scp", "ftp", "ftps", "smb", "hdfs", "webhdfs", "abfs", "abfss", "wasb", "wasbs", "hf")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*)://(\S*)")
_LOGIN = re.compile(r"^[^/@?#]*@")
_LOGIN_WITH_SLASH = re.compile(r"^[^/@:?#\[\]]+:(?!\d+(?:/|$))[^@?#]*@")  # user:pass/word@host; not host:8080/a@b
_NAME = (
    r"[\w.~-]*(?:signature|credential|password|passwd|passphrase|secret|token|accesskeyid|access_key|apikey|api_key|api-key)"
    r"[\w.~-]*|sig|pwd|pass|auth|authorization|key|sas|jwt"
)
_QUERY = re.compile(rf"(?i)([?&;#](?:{_NAME})=)([^&;#\s'\"]+)")


def refuse_credentials(value: Any, key: str, where: str = "params.yaml") -> None:
    """Raise UsageError if a URL anywhere in `value` (nested params) holds a credential; the message does not repeat it."""
    if isinstance(value, dict):
        for name, child in value.items():
            refuse_credentials(name, key, where)
            refuse_credentials(child, f"{key}.{name}", where)
    elif isinstance(value, list | tuple):
        for child in value:
            refuse_credentials(child, key, where)
    elif isinstance(value, str) and (found := credential_in(value)):
        raise UsageError(
            f"The URL in '{key}' holds {found}, which would be copied to dvc.lock, caches, run records and reports",
            where=where,
            do="write the URL without it; give it by the environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, "
            "GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN, ~/.netrc …), and replace it if it was stored or shared",
        )


def credential_in(text: str) -> str:
    """What kind of credential a URL in `text` holds, in words; "" for none."""
    for scheme, rest in _URL.findall(text):
        login = _LOGIN.match(rest) or _LOGIN_WITH_SLASH.match(rest)
        if login and (":" in login[0] or scheme.lower().rsplit("+", 1)[-1] not in _USERS):
            return "a login before the host (user:password@ or token@)"
        # Escapes are undone in the names alone: `%74oken=` is `token=` to the server.
        query = _QUERY.search(unquote(rest))
        if query:
            return f"'{query[1][1:-1]}' in its query"
    return ""


def hide_credentials(text: str) -> str:
    """The text with logins and secret query values of its URLs replaced by `***`: for messages of libraries and servers."""

    def hide(found: re.Match[str]) -> str:
        scheme, rest = found.groups()
        rest = _LOGIN.sub(f"{HIDDEN}@", _LOGIN_WITH_SLASH.sub(f"{HIDDEN}@", rest))
        return f"{scheme}://" + _QUERY.sub(rf"\g<1>{HIDDEN}", rest)

    return _URL.sub(hide, text)
