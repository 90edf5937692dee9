"""One module of the project as its definitions: what each binds, a digest of its code, and what it refers to.

Read from the syntax tree alone; nothing is imported. The facts are plain JSON, so that they can be kept between processes.
What they do not show (`eval`, `globals()`, an import by a name that is made up) is marked, and then the whole module counts.
"""

from __future__ import annotations

import ast
import re
from typing import Any, TypedDict

from components.engines.base.bindings import (
    PURE_DECORATORS,
    arguments_of,
    bound_by,
    callee_of,
    calls_of,
    chain_of,
    is_names,
    is_pure,
    is_type_checking,
    locals_of,
    stored_in,
)
from components.engines.base.errors import UsageError
from components.engines.base.syntax import digest_of, digest_of_text, without_docstrings

PACKAGES = ("components", "flows")

# Lazily used: counts where something reaches it. Always: counts as soon as the module is loaded.
LAZY, IMPORT, ALWAYS, MAIN, WATCHING = "lazy", "import", "always", "main", "watching"

_DYNAMIC = {"globals", "vars", "locals", "eval", "exec", "__import__"}
_NAMES_A_MODULE = re.compile(r"(?:components|flows)(?:\.[A-Za-z_]\w*)+(?::[A-Za-z_]\w*)?")

_NAMES_A_FILE = re.compile(r"[\w/-][\w./-]*\.[A-Za-z]\w{0,9}")


class Import(TypedDict):
    """`alias` is bound to module `module` (name None) or to what `name` is there; alias None: loaded only."""

    alias: str | None
    module: str
    name: str | None


class Unit(TypedDict):
    """A statement at the top of a module."""

    kind: str
    binds: list[str]
    digest: str
    refs: list[list[str]]  # dotted names that are looked up in the module, as their parts
    annotations: list[list[str]]  # the same in annotations that only tell types, unless a stage's own function has them
    imports: list[Import]  # inside functions; of an `import` statement its own
    modules: list[str]  # named by strings: `components.a.b` or `components.a.b:Name`
    data: list[str]  # strings that may name a file beside the module: `words.yaml`
    calls: list[list[str]]  # of the project, in an assignment: they may leave more behind than the value
    bases: list[list[str]]  # a class's
    marks: list[str]  # `is_class`, `registers`, `constructs` (a constructor of its own), `files`, `dynamic`


class Facts(TypedDict):
    units: list[Unit]
    star: list[str]  # modules that are imported with `*`


def facts_of(source: bytes, module: str, is_package: bool, where: str) -> Facts:
    """Raises UsageError, with file and line, where Python cannot read the source."""
    try:
        tree = ast.parse(source, filename=where)
    except SyntaxError as error:
        raise UsageError(f"Python cannot read this file: {error.msg}", where=f"{where}:{error.lineno}") from None
    without_docstrings(tree)
    package = module.split(".") if is_package else module.split(".")[:-1]
    own = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    reader = _Module(package, {name for node in own for name in bound_by(node)})
    units = [unit for node in tree.body for unit in reader.units(node)]
    return {"units": units, "star": reader.star}


class _Module:
    def __init__(self, package: list[str], names: set[str]) -> None:
        self.package, self.star = package, []  # type: list[str], list[str]
        self.names, self.of_project = names, set()  # type: set[str], set[str]

    def units(self, node: ast.stmt) -> list[Unit]:
        if isinstance(node, ast.If) and is_type_checking(node.test):
            return [unit for other in node.orelse for unit in self.units(other)]
        if isinstance(node, ast.Import | ast.ImportFrom):
            return [self._imported(one) for one in self.targets(node)]
        seen = _References(self)
        seen.visit(node)
        kind = self._kind(node, seen)
        calls = calls_of(node) if isinstance(node, ast.Assign | ast.AnnAssign) else []
        if kind == LAZY and any(not self._is_known(call) for call in calls):
            kind = ALWAYS
        bases = [chain for base in getattr(node, "bases", []) if (chain := chain_of(base))]
        return [
            {
                "kind": kind,
                "binds": sorted(bound_by(node)),
                "digest": digest_of(node),
                "refs": _listed(seen.refs),
                "annotations": _listed(seen.annotations),
                "imports": seen.imports,
                "modules": sorted(seen.modules),
                "data": sorted(seen.data),
                "calls": [call for call in calls if not is_pure(call)],
                "bases": bases,
                "marks": sorted(seen.marks | _marks(node)),
            }
        ]

    def targets(self, node: ast.Import | ast.ImportFrom) -> list[Import]:
        if isinstance(node, ast.Import):
            found: list[Import] = []
            for one in node.names:
                bound = one.asname or one.name.split(".")[0]
                target = one.name if one.asname else bound
                found.append({"alias": bound, "module": target, "name": None})
                if target != one.name:
                    found.append({"alias": None, "module": one.name, "name": None})
            return found
        module = node.module or ""
        if node.level:
            above = self.package[: len(self.package) - (node.level - 1)]
            module = ".".join([*above, *([module] if module else [])])
        if any(one.name == "*" for one in node.names):
            self.star.append(module)
            return [{"alias": None, "module": module, "name": None}]
        return [{"alias": one.asname or one.name, "module": module, "name": one.name} for one in node.names]

    def _imported(self, target: Import) -> Unit:
        if target["alias"] and target["module"].split(".")[0] in PACKAGES:
            self.of_project.add(target["alias"])
        said = f"{target['alias']}={target['module']}:{target['name']}"
        always = target["module"] == "__future__"
        return {
            "kind": ALWAYS if always else IMPORT,
            "binds": [target["alias"]] if target["alias"] and not always else [],
            "digest": digest_of_text(said),
            "refs": [], "annotations": [], "imports": [target], "modules": [], "data": [], "calls": [], "bases": [], "marks": [],
        }  # fmt: skip

    def _kind(self, node: ast.stmt, seen: _References) -> str:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" and not node.orelse:
            return MAIN
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            decorators = [callee_of(one) for one in node.decorator_list]
            if any(chain and chain[-1] == "watching" for chain in decorators):
                return WATCHING
            lasting = any(not self._leaves_nothing(chain, of_class=False) for chain in decorators)
            if isinstance(node, ast.ClassDef):
                lasting = lasting or bool(node.keywords) or self._acts_at_load(node)
            else:
                defaults = [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
                lasting = lasting or any(not self._is_known(call) for one in defaults for call in calls_of(one))
            return ALWAYS if lasting else LAZY
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return LAZY if all(is_names(target) for target in targets) else ALWAYS
        return ALWAYS

    def _acts_at_load(self, node: ast.ClassDef) -> bool:
        """Whether the class's body does more than define: statements of its own, or decorators of the project."""
        plain = ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Pass
        for one in node.body:
            if not isinstance(one, plain) and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):
                return True
            called = [callee_of(decorator) for decorator in getattr(one, "decorator_list", [])]
            if any(not self._leaves_nothing(chain, of_class=True) for chain in called):
                return True
        return False

    def _leaves_nothing(self, chain: list[str] | None, *, of_class: bool) -> bool:
        """Whether a decorator only makes what it returns; inside a class those of libraries are taken to."""
        if not chain:
            return False
        return chain[-1] in PURE_DECORATORS or (of_class and chain[0] not in self.names | self.of_project)

    def _is_known(self, call: list[str]) -> bool:
        """Whether a call leaves nothing behind, or is one of the project, of which the graph decides (see reach.py)."""
        return is_pure(call) or (bool(call) and call[0] in self.names | self.of_project)


class _References(ast.NodeVisitor):
    """The names that a statement looks up in its module: those that no function around the place binds."""

    def __init__(self, module: _Module) -> None:
        self.module = module
        self.refs: set[tuple[str, ...]] = set()
        self.annotations: set[tuple[str, ...]] = set()
        self.imports: list[Import] = []
        self.modules: set[str] = set()
        self.data: set[str] = set()
        self.marks: set[str] = set()
        self._scopes: list[set[str]] = []
        self._in_annotation = False

    def _refer(self, chain: tuple[str, ...]) -> None:
        if any(chain[0] in scope for scope in self._scopes):
            return
        if chain[0] in ("__file__", "__package__", "__path__"):
            self.marks.add("files")
        elif chain[0] in _DYNAMIC or chain[-1] == "import_module" or chain[:2] == ("sys", "modules"):
            self.marks.add("dynamic")
        (self.annotations if self._in_annotation else self.refs).add(chain)

    def visit_Name(self, node: ast.Name) -> None:
        self._refer((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if chain:
            self._refer(tuple(chain))
        else:
            self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            if _NAMES_A_MODULE.fullmatch(node.value):
                self.modules.add(node.value)
            elif _NAMES_A_FILE.fullmatch(node.value):
                self.data.add(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += self.module.targets(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports += self.module.targets(node)

    def visit_If(self, node: ast.If) -> None:
        if is_type_checking(node.test):
            for one in node.orelse:
                self.visit(one)
        else:
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.generic_visit(node)  # names of a class's body are not seen by the functions in it

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        told = [node.returns, *(one.annotation for one in every if one is not None)]
        decorators = [callee_of(one) for one in node.decorator_list]
        read = any(not chain or chain[-1] not in PURE_DECORATORS for chain in decorators)  # by a decorator
        before, self._in_annotation = self._in_annotation, not read
        for annotation in filter(None, told):
            self.visit(annotation)
        self._in_annotation = before
        self._scoped(arguments_of(node.args) | locals_of(node.body), node.body)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast's names

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for outside in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        self._scoped(arguments_of(node.args), [node.body])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)
        before, self._in_annotation = self._in_annotation, bool(self._scopes)  # in a function they are not evaluated
        self.visit(node.annotation)
        self._in_annotation = before

    def _comprehension(self, node: Any) -> None:
        bound = {name for one in node.generators for name in stored_in(one.target)}
        self.visit(node.generators[0].iter)
        self._scoped(bound, [*ast.iter_child_nodes(node)])

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815

    def _scoped(self, names: set[str], nodes: list[Any]) -> None:
        self._scopes.append(names)
        for node in nodes:
            self.visit(node)
        self._scopes.pop()


def _marks(node: ast.stmt) -> set[str]:
    if not isinstance(node, ast.ClassDef):
        return set()
    names = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    constructors = {"__init__", "__new__", "__post_init__", "model_post_init", "__set_name__"}
    checked = any(isinstance(one, ast.FunctionDef) and one.decorator_list for one in node.body)
    return (
        {"is_class"}
        | ({"registers"} if "__init_subclass__" in names or node.keywords else set())
        | ({"constructs"} if names & constructors or checked else set())
    )


def _listed(chains: set[tuple[str, ...]]) -> list[list[str]]:
    return [list(chain) for chain in sorted(chains)]
