"""Digests of code that say the same under every Python: of syntax trees, without docstrings, comments and layout."""

from __future__ import annotations

import ast
import hashlib
from typing import Any

# Fields that follow from the rest (`ctx` from the place, `kind` says u"…") or hold comments.
_IMPLIED = {"ctx", "kind", "type_comment", "type_ignores"}


def without_docstrings(tree: ast.AST) -> None:
    """Take them out of the tree, at every depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of(tree: ast.AST) -> str:
    """Digest of a syntax tree, the same from every Python that can read the code.

    `ast.dump` differs between minor versions, which add fields (3.12: type_params) and leave empty ones out (3.13). Here what
    is empty is left out, and constants stand in ASCII: which characters are printable is the version's own choice too.
    """
    pieces: list[str] = []
    waiting: list[Any] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Text):
            pieces.append(value)
        elif isinstance(value, ast.AST):
            pieces.append(f"{type(value).__name__}(")
            waiting.append(_Text(")"))
            for name in reversed(value._fields):
                child = getattr(value, name, None)
                if isinstance(value, ast.JoinedStr):  # 3.12 leaves an empty string behind a format such as {x:<{width}}
                    child = [part for part in value.values if not (isinstance(part, ast.Constant) and part.value == "")]
                if name not in _IMPLIED and child is not None and child != []:
                    waiting += [child, _Text(f"{name}=")]
        elif isinstance(value, list):
            pieces.append("[")
            waiting += [_Text("]"), *reversed(value)]
        else:
            pieces.append(f"{type(value).__name__} {value!a},")
    return digest_of_text("".join(pieces))


class _Text(str):
    """Text of the digest itself, among values that are still to be written."""
