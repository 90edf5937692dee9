"""What a piece of syntax binds and calls, as names: read off the tree, for definitions.py."""

from __future__ import annotations

import ast

# Decorators that leave nothing behind but what they return.
PURE_DECORATORS = {
    "dataclass", "contextmanager", "asynccontextmanager", "cache", "lru_cache", "cached_property", "runtime_checkable",
    "no_grad", "inference_mode", "wraps", "total_ordering", "final", "override", "overload", "staticmethod",
    "classmethod", "property", "abstractmethod", "setter", "getter",
}  # fmt: skip
# What an assignment may call without leaving anything behind but its value: by the head of the dotted name.
_PURE_CALLEES = {
    "re", "math", "string", "base64", "itertools", "functools", "typing", "logging", "np", "numpy", "Path", "PurePosixPath",
    "TypeVar", "ParamSpec", "NamedTuple", "ContextVar", "Field", "ConfigDict", "TypeAdapter", "Decimal", "Fraction",
    "frozenset", "set", "dict", "list", "tuple", "str", "int", "float", "bool", "bytes", "object", "range", "len", "sum",
    "min", "max", "sorted", "zip", "map", "filter", "enumerate", "reversed", "ord", "chr", "getattr", "field", "partial",
    "Counter", "defaultdict", "namedtuple", "abs", "round", "any", "all", "repr", "hash", "type", "os.path",
}  # fmt: skip


def is_pure(call: list[str]) -> bool:
    return bool(call) and (call[0] in _PURE_CALLEES or ".".join(call[:2]) in _PURE_CALLEES)


def calls_of(node: ast.AST) -> list[list[str]]:
    """The dotted names that an expression calls; [] for what has none. Methods of literals are left out."""
    found = []
    for one in ast.walk(node):
        if isinstance(one, ast.Lambda):
            continue
        if isinstance(one, ast.Call):
            func = one.func
            inner = func.value if isinstance(func, ast.Attribute) else None
            if isinstance(inner, ast.Constant | ast.JoinedStr | ast.List | ast.Dict | ast.Set | ast.Call | ast.BinOp):
                continue  # what makes the object is looked at itself
            found.append(chain_of(func) or [])
    return found


def callee_of(decorator: ast.expr) -> list[str] | None:
    return chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)


def chain_of(node: ast.AST) -> list[str] | None:
    """`a.b.c` as its parts; None for what does not begin with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def is_type_checking(test: ast.expr) -> bool:
    return (chain_of(test) or [""])[-1] == "TYPE_CHECKING"


def is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(is_names(one) for one in target.elts)
    return isinstance(target, ast.Name)


def arguments_of(arguments: ast.arguments) -> set[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {one.arg for one in every if one is not None}


def stored_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}


def locals_of(body: list[ast.stmt]) -> set[str]:
    """Names that a function's body binds, but for imports (which lead somewhere) and what it declares global."""
    found: set[str] = set()
    declared: set[str] = set()
    waiting: list[ast.AST] = [*body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Global):
            declared.update(node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
        children = [*ast.iter_child_nodes(node)]
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            # its targets are its own; what `:=` binds in it is the function's
            found |= {one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr)}
            continue
        waiting.extend(children)
    return found - declared


def bound_by(node: ast.stmt) -> set[str]:
    """Names that a statement at the top of a module binds there."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {one.asname or one.name.split(".")[0] for one in node.names}
    found: set[str] = set()
    waiting: list[ast.AST] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.stmt) and one is not node and isinstance(one, ast.FunctionDef | ast.ClassDef):
            found.add(one.name)
            continue
        if isinstance(one, ast.Import | ast.ImportFrom):
            found |= bound_by(one)
        elif isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            found.add(one.id)
        waiting.extend(ast.iter_child_nodes(one))
    return found
