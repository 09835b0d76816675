"""Who may import whom (DESIGN.md section 5), and where SQL may stand."""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("srv", "rpc", "store", "migrations", "bench")

MAY_IMPORT: Final = {
    "srv": {"srv", "rpc", "migrations"},
    "rpc": {"rpc", "store"},
    "migrations": {"migrations", "store"},
    "store": {"store"},
    "bench": {"bench"},
}
"""Of our own packages. Nothing imports tests, and bench looks at the daemon from outside only."""

TOUCH_STORE: Final = {"srv/app.py", "srv/health.py"}
"""The modules of srv that may import store as well."""

ONLY_IN: Final = {
    "sqlite3": ("store/sqlite/*", "migrations/legacy*", "bench/machine.py"),
    "aiosqlite": ("store/sqlite/*",),
    "asyncpg": ("store/postgres/*", "bench/cluster.py", "bench/cost.py", "bench/inserts.py"),
    "jsonrpcserver": ("rpc/dispatch.py",),
    "oslash": ("rpc/dispatch.py",),
    "aiohttp": ("srv/*", "rpc/transport.py", "rpc/proving.py", "bench/echo.py"),
    "uvloop": ("srv/*", "bench/*"),
}
"""Libraries that only these modules know of."""

SQL_IN: Final = ("store/sqlite/*", "store/postgres/*", "store/sql/*", "migrations/legacy*")
"""Where a statement may stand in Python code; most stand in `.sql` files."""

_STATEMENT: Final = re.compile(
    r"\b(select\b.+\bfrom\s+\w|insert\s+(or\s+\w+\s+)?into\s+\w|update\s+\w+\s+set\b|delete\s+from\s+\w"
    r"|(create|drop|alter)\s+(unique\s+)?(table|index|trigger|view)\b|pragma\s+\w|attach\s+database\b|begin\s+immediate\b)",
    re.IGNORECASE | re.DOTALL,
)
_DYNAMIC_IMPORTS: Final = {"import_module", "__import__"}


def parsed(source: str) -> ast.Module:
    """Parse a module, with no collection in between.

    CPython before 3.13 keeps the parser's depth for the whole interpreter: a finalizer that has a warning's traceback printed
    parses too, and then the outer parsing fails with SystemError ("AST constructor recursion depth mismatch").
    """
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def imported_modules(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the dotted name of all that a module imports: at the top, in functions, for types, relative or by a call."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                parts = package.split(".")
                base = parts[: len(parts) - node.level + 1] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                yield from (f"{origin}.{alias.name}" for alias in node.names)
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(target)), *_]
            ):
                if name in _DYNAMIC_IMPORTS:
                    yield target


def violations(path: str, source: str) -> list[str]:
    """Say in sentences which imports of the file at that path, relative to the repository, break a rule."""
    parts = path.removesuffix(".py").split("/")
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    found = []
    for name in imported_modules(parsed(source), module, is_package=is_package):
        top = name.partition(".")[0]
        if (
            top in {*PACKAGES, "tests"}
            and top not in MAY_IMPORT[parts[0]]
            and not (top == "store" and path in TOUCH_STORE)
        ):
            found.append(f"{path} imports {name}: {parts[0]} may import {', '.join(sorted(MAY_IMPORT[parts[0]]))} only")
        if top in ONLY_IN and not any(fnmatch(path, pattern) for pattern in ONLY_IN[top]):
            found.append(f"{path} imports {top}: only {', '.join(ONLY_IN[top])} may")
    return found


def statements(source: str) -> list[str]:
    """Return the beginnings of the texts in a module that look like SQL. Docstrings are words, not statements."""
    tree = parsed(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {
        id(node.value)
        for parent in ast.walk(tree)
        if isinstance(parent, documented)
        for node in parent.body
        if isinstance(node, ast.Expr)
    }
    texts = (_text(node) for node in ast.walk(tree) if id(node) not in prose)
    return [text[:80] for text in texts if _STATEMENT.search(text)]


def _text(node: ast.AST) -> str:
    """Return the text of a literal, with `x` for each value that an f-string puts in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=pieces):
            return "".join(str(piece.value) if isinstance(piece, ast.Constant) else "x" for piece in pieces)
    return ""


def modules() -> list[str]:
    """List the modules of our packages, relative to the repository."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def test_there_are_modules_to_look_at() -> None:
    """Every package of the house is there, so that no rule holds for want of modules."""
    assert {path.partition("/")[0] for path in modules()} == set(PACKAGES)
    assert set(modules()) >= TOUCH_STORE


@pytest.mark.parametrize("path", modules())
def test_a_module_imports_only_what_its_package_may(path: str) -> None:
    """Imports go srv → rpc → store and srv → migrations → store, and libraries stay in the modules that own them."""
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [path for path in modules() if not any(fnmatch(path, each) for each in SQL_IN)])
def test_a_module_above_the_engines_holds_no_sql(path: str) -> None:
    """Statements stand in the engines, in `.sql` files and in the reader of legacy data, and nowhere else."""
    assert statements((ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/lines.py", "import rpc.errors"),
        ("store/lines.py", "from rpc import errors"),
        ("store/sqlite/reads.py", "from ...rpc import errors"),
        ("store/__init__.py", "from ..srv import app"),
        ("store/lines.py", "def f():\n    import migrations"),
        ("store/lines.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from srv.app import App"),
        ("store/lines.py", "import importlib\nimportlib.import_module('rpc.errors')"),
        ("rpc/methods.py", "from srv.config import Settings"),
        ("rpc/methods.py", "import migrations.runner"),
        ("migrations/runner.py", "from rpc.errors import number"),
        ("srv/http.py", "from store.sessions import Sessions"),
        ("srv/http.py", "import sqlite3"),
        ("bench/client.py", "import srv"),
        ("srv/app.py", "from tests import conftest"),
        ("rpc/schema.py", "import jsonrpcserver"),
        ("rpc/dispatch.py", "from aiohttp import web"),
        ("store/writer.py", "import aiosqlite"),
        ("migrations/runner.py", "import sqlite3"),
    ],
)
def test_a_forbidden_import_is_seen_however_it_is_written(path: str, source: str) -> None:
    """The walk sees plain, relative, local, typing-only and dynamic imports."""
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("srv/app.py", "from store.sessions import Sessions"),
        ("srv/health.py", "import store.writer"),
        ("srv/http.py", "from rpc.dispatch import Dispatcher"),
        ("rpc/dispatch.py", "import jsonrpcserver\nfrom store.errors import StoreError"),
        ("migrations/legacy_files.py", "import sqlite3\nfrom store import zones"),
        ("store/sqlite/reads.py", "import aiosqlite\nfrom .. import lines\nfrom . import rows"),
    ],
)
def test_an_allowed_import_is_let_through(path: str, source: str) -> None:
    """The rule forbids no more than it says."""
    assert violations(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 'SELECT a FROM b'",
        "x = 'select a from b'",
        "x = f'DELETE FROM {y} WHERE z'",
        "x = '''\\nUPDATE a\\n   SET b = 1'''",
        "x = 'insert or ignore into a values (1)'",
        "f('PRAGMA user_version')",
    ],
)
def test_a_statement_is_seen(source: str) -> None:
    """The search sees statements in either case, over lines, and with names put in."""
    assert statements(source)


@pytest.mark.parametrize(
    "source", ['"""Select a row from the table."""', "x = 'Update the setting, then begin'", "x = 'from a'"]
)
def test_prose_is_not_taken_for_sql(source: str) -> None:
    """Docstrings and sentences may speak of selecting and updating."""
    assert statements(source) == []
