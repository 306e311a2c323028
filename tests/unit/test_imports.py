"""Imports point downwards in the lists of docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("admin/**/*.py"), *ROOT.glob("engine/**/*.py")])
MIGRATIONS = ROOT / "engine/store/migrations"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES if MIGRATIONS not in path.parents}


def lists() -> list[list[list[str]]]:
    """Both lists as the page has them: of each line the modules and packages that it names."""
    text = (ROOT / "docs/architecture.md").read_text()
    section = text.split("## Who imports whom")[1].split("\n## ")[0]
    blocks = re.findall(r"(?:^    .+\n)+", section, re.MULTILINE)
    return [[_named(line) for line in block.splitlines()] for block in blocks]


def _named(line: str) -> list[str]:
    names = re.split(r"  +", line.strip())[0].split()
    # The folder is said once for what follows it in a line.
    folder = names[0].rpartition("/")[0] + "/" if names[0].startswith("engine/") else ""
    full = [name if "/" in name else folder + name for name in names]
    return [name.removesuffix(".py").rstrip("/").replace("/", ".") for name in full]


ENGINE, ADMIN = lists()


def line_of(module: str, lines: list[list[str]]) -> int | None:
    """Where the most exact name of the module stands."""
    found = [
        (len(name), at)
        for at, names in enumerate(lines)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(found)[1] if found else None


def imports_of(path: Path) -> Iterator[str]:
    """Modules of ours, at whatever place of the file; not what is there for types alone."""
    tree = ast.parse(path.read_text())
    for node in _without_types(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name in MODULES)


def _without_types(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _without_types(child)


def upwards(lines: list[list[str]], prefix: str) -> Iterator[str]:
    """Imports within `prefix` that point to an earlier line."""
    for module, path in MODULES.items():
        if module in ("admin", "engine") or not module.startswith(prefix):
            continue
        here = line_of(module.removeprefix(prefix), lines)
        assert here is not None, f"{module} is in no line of the list"
        for other in imports_of(path):
            there = line_of(other.removeprefix(prefix), lines) if other.startswith(prefix) else None
            if there is not None and there < here:
                yield f"{module} -> {other}"


@pytest.mark.parametrize(("lines", "prefix"), [(ENGINE, ""), (ADMIN, "admin.")])
def test_imports_point_downwards(lines: list[list[str]], prefix: str) -> None:
    assert list(upwards(lines, prefix)) == []


def test_an_import_that_points_upwards_is_found() -> None:
    assert "admin.app -> admin.http.calls" in list(upwards(ADMIN[::-1], "admin."))


@pytest.mark.parametrize(("lines", "folder"), [(ENGINE, "."), (ADMIN, "admin")])
def test_the_lists_name_nothing_that_is_not_there(lines: list[list[str]], folder: str) -> None:
    for name in (name for names in lines for name in names):
        place = ROOT / folder / name.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_no_area_imports_the_handlers_of_another() -> None:
    importers = {
        module
        for module, path in MODULES.items()
        for other in imports_of(path)
        if other.startswith("admin.") and other.endswith(".handlers")
        if module.rpartition(".")[0] != other.rpartition(".")[0]
    }
    assert importers == {"admin.app"}
