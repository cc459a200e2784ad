"""Everything that determines a result, as 64 hexadecimal digits: values, files, and the code that computes it."""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

from gaitlib.files import opened

_PACKAGE = Path(__file__).resolve().parent


def fingerprint(value: object) -> str:
    """SHA-256 of a value of dicts, lists, strings, numbers, booleans and None.

    The order of dict keys does not matter; tuples count as lists, and paths and other values as their text.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value):
    """A value that JSON does not know: a numpy number as a number, anything else as text."""
    return value.item() if hasattr(value, "item") else str(value)


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file of any size. Raises Unreadable where it cannot be read."""
    with opened(path, most=2**60) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_fingerprint(*modules: str) -> str:
    """SHA-256 of the code of some modules of gaitlib and of all modules of it that they import; the same in every checkout.

    modules: such as "gaitlib.training". Comments, docstrings and formatting do not count.
    Raises ValueError for a module that does not exist.
    """
    if unknown := [module for module in modules if not _source(module)]:
        raise ValueError(f"gaitlib has no module {unknown[0]!r} to take a fingerprint of.")
    found: dict[str, str] = {}
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        path = _source(module)
        if module in found or not path:
            continue
        tree = ast.parse(path.read_bytes())
        found[module] = ast.unparse(_without_docstrings(tree))
        waiting |= _imported(tree) | {module.rpartition(".")[0]}
    return fingerprint(found)


def _source(module: str) -> Path | None:
    """The file of a module of gaitlib; None if there is none."""
    name, *parts = module.split(".")
    path = _PACKAGE.joinpath(*parts)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in candidates if name == "gaitlib" and file.is_file()), None)


def _imported(tree: ast.Module) -> set[str]:
    """The names that a module imports absolutely, anywhere in it; some may be members of modules rather than modules."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        can_have_one = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if can_have_one and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
