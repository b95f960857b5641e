"""Table of the error messages, collected from the source code for docs/reference/errors.md."""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from inspect import getmembers, isclass
from pathlib import Path
from typing import cast

from wnc_store import StoreError, errors

ROOT = Path(__file__).parents[1]
SOURCES = ("wnc_store", "backends")
CLASSES = {
    name: kind for name, kind in getmembers(errors, isclass) if issubclass(kind, StoreError)
}


def table() -> str:
    """Return a section for each error class, with its description and its messages."""
    messages = collect()
    sections: list[str] = []
    for name, kind in CLASSES.items():
        description = (kind.__doc__ or "").partition("\n")[0]
        rows = [
            f"| `{text.replace('|', chr(92) + '|')}` | `{module}` |"
            for text, module in sorted(messages[name])
        ]
        sections += [f"## {name}", "", description, ""]
        sections += ["| message | raised in |", "|---|---|", *rows, ""] if rows else []
    return "\n".join(sections)


@functools.cache
def collect() -> dict[str, set[tuple[str, str]]]:
    """Return the messages of each error class with the modules that raise them."""
    messages: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name, text in _fixed_messages():
        messages[name].add((text, "wnc_store.errors"))
    for path in sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part not in {"backends", "__init__"})
        for name, text in _raised_messages(ast.parse(path.read_text(encoding="utf-8"))):
            messages[name].add((text, module))
    return messages


def _fixed_messages() -> Iterator[tuple[str, str]]:
    """Iterate over the messages that the constructors of the error classes make."""
    for node in ast.walk(ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                    yield from ((node.name, text) for text in _texts(call.args[0], {}))


def _raised_messages(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Iterate over the messages that the code of a module passes to error classes."""
    module_names = _assignments(tree.body)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = module_names | _assignments(function.body)
            for call in ast.walk(function):
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Name)
                    and call.func.id in CLASSES
                ):
                    kind = CLASSES[call.func.id]
                    if "__init__" not in vars(kind) and call.args:
                        yield from (
                            (kind.__name__, text) for text in _texts(call.args[0], names)
                        )


def _assignments(body: list[ast.stmt]) -> dict[str, list[ast.expr]]:
    """Return the values that are assigned to each local name."""
    values: dict[str, list[ast.expr]] = defaultdict(list)
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                values[node.targets[0].id].append(node.value)
    return values


def _texts(node: ast.expr | None, names: dict[str, list[ast.expr]]) -> list[str]:
    """Return the texts that an expression can have, with placeholders for inserted values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(_part(part, names) for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, names), *_texts(node.orelse, names)]
    if isinstance(node, ast.Name):
        values = [value for value in names.get(node.id, ()) if not isinstance(value, ast.Name)]
        return [text for value in values for text in _texts(value, names)]
    return []


def _part(node: ast.expr, names: dict[str, list[ast.expr]]) -> str:
    if not isinstance(node, ast.FormattedValue):
        return str(cast("ast.Constant", node).value)
    value = node.value
    texts = _texts(value, names)
    if len(texts) == 1:
        return texts[0]
    if isinstance(value, ast.Call):
        value = value.func
    return f"<{value.attr if isinstance(value, ast.Attribute) else ast.unparse(value)}>"
