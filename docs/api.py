"""Write docs/api.md: what a notebook or script of your own would call, from the docstrings.

    python docs/api.py      (make api)

The source is read, not imported, so the page is the same whatever Python and libraries are installed.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
#: In the order in which a walk meets them.
MODULES = (
    "skeleton",
    *(f"poses/{name}" for name in ("reading", "prepare", "repair", "inspect", "export")),
    *(f"data/{name}" for name in ("dataset", "cameras", "walkers", "protocol", "preprocess")),
    *(f"model/{name}" for name in ("geometric", "autoencoder", "recognizer", "losses", "discriminants", "checkpoint")),
    *(f"evaluation/{name}" for name in ("embedding", "ranking", "verification", "bootstrap", "ablations", "codes", "exchange")),
    *(f"evaluation/{name}" for name in ("gait", "identification", "realism")),
    "networks", "gallery",
)  # fmt: skip
_INTRODUCTION = """
# API

What you can call from Python; `make api` writes this page from the docstrings. Arrays are given with their shapes: [T, 15, 2] is
frames, joints, x and y. Bad input raises `gaitlib.InputError`.
"""


def page() -> str:
    titles = [f"gaitlib.{name.replace('/', '.')}" for name in MODULES]
    contents = " · ".join(f"[{title.removeprefix('gaitlib.')}](#{title.replace('.', '')})" for title in titles)
    parts = [_INTRODUCTION.strip(), contents]
    for title, name in zip(titles, MODULES, strict=True):
        parts += [f"## {title}", *_entries(ast.parse((ROOT / "gaitlib" / f"{name}.py").read_text("utf-8")))]
    return "\n\n".join(parts) + "\n"


def _entries(tree: ast.Module) -> Iterator[str]:
    """The docstring of a module, then each public function, class and method that has one."""
    yield _text(tree)
    for node in tree.body:
        if _is_public(node):
            yield f"### `{_signature(node)}`\n\n{_text(node)}"
            methods = [method for method in node.body if _is_public(method)] if isinstance(node, ast.ClassDef) else []
            if methods:
                yield "\n".join(f"- `.{_signature(method)}`: {' '.join(_text(method).split())}" for method in methods)


def _is_public(node: ast.AST) -> bool:
    named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    return named and ast.get_docstring(node) is not None


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """name(parameter: type = default) -> type; the parameters of a dataclass are its fields."""
    if isinstance(node, ast.FunctionDef):
        arguments = ast.unparse(node.args).removeprefix("self, ").removeprefix("self")
        return f"{node.name}({arguments})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
    made = next((method.args for method in node.body if isinstance(method, ast.FunctionDef) and method.name == "__init__"), None)
    fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
    return f"{node.name}({ast.unparse(made).removeprefix('self, ') if made else ', '.join(fields)})"


def _text(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The docstring; outside of `code`, nothing in it is Markdown."""
    parts = (ast.get_docstring(node) or "").split("`")
    parts[::2] = [re.sub(r"([<*])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
