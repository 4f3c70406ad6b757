"""The code keeps to the table of rooms in hgedge/DESIGN.md, and to the limits of size."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hgedge"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40  # without its docstring
DOOR = "__init__"  # how the table calls hgedge/__init__.py


@dataclass(frozen=True)
class Room:
    """A row of the table."""

    imports: tuple[str, ...]
    libraries: tuple[str, ...]


def read_table(page: str) -> tuple[tuple[str, ...], dict[str, Room]]:
    """The modules of the foundation, and the rooms, of the page's table."""
    foundation: tuple[str, ...] = ()
    rooms: dict[str, Room] = {}
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| Room |"):
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and not line.startswith("| ---"):
            name, _, members = cells[0].partition(":")
            if name == "foundation":
                foundation = words(members)
            for room in (name, *foundation) if name == "foundation" else words(name):
                rooms[room] = Room(words(cells[1]), words(cells[2]))
    return foundation, rooms


def words(cell: str) -> tuple[str, ...]:
    return tuple(word.strip().strip("`") for word in cell.split(",") if word.strip())


FOUNDATION, ROOMS = read_table((PACKAGE / "DESIGN.md").read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    """Dotted name under hgedge, without it: `export.to_onnx`; packages by their folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path) for path in FILES}


def room_of(module: str) -> str | None:
    """The row with the longest name that a module lies under."""
    fitting = [room for room in ROOMS if lies_under(module, room)]
    return max(fitting, key=len, default=None)


def lies_under(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_module(name: str) -> str:
    """The module of hgedge that an imported dotted name belongs to."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or DOOR


def may_import(module: str, target: str) -> bool:
    """Whether the table lets a module import another one."""
    room = room_of(module)
    allowed = ROOMS[room].imports if room is not None else ()
    if lies_under(target, "cli"):
        return lies_under(module, "cli") or module == "__main__"
    if "anything" in allowed or target == DOOR:  # the door's own name holds only the version at import time
        return True
    own = room if room not in FOUNDATION else ""
    return target in FOUNDATION or room_of(target) == own or any(lies_under(target, prefix) for prefix in allowed)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_keeps_to_its_room(path: Path) -> None:
    module = module_of(path)
    room = room_of(module)
    assert room is not None, f"{module} is in no room of hgedge/DESIGN.md; add it to the table"
    wrong = []
    for line, name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
        root = name.partition(".")[0]
        if root == "hgedge":
            if not may_import(module, own_module(name)):
                wrong.append(f"line {line}: {own_module(name)} is not open to {room}")
        elif root not in sys.stdlib_module_names and root not in ("numpy", *ROOMS[room].libraries):
            wrong.append(f"line {line}: {root} is not a library of {room}")
    assert not wrong, f"{path.name}: " + "; ".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_short_and_so_are_its_functions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    long = {
        node.name: lines
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := code_lines(node)) > MAX_FUNCTION_LINES
    }
    assert not long, f"functions of more than {MAX_FUNCTION_LINES} lines in {path.name}: {long}"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    documented = docstring.end_lineno - docstring.lineno + 1 if docstring is not None else 0
    return function.end_lineno - function.lineno + 1 - documented


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_are_absolute(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    relative = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"relative imports in lines {relative}"


def test_the_table_names_only_what_there_is() -> None:
    missing = [room for room in ROOMS if room != "foundation" and not any(lies_under(name, room) for name in MODULES)]
    assert not missing, f"hgedge/DESIGN.md names rooms that are not there: {missing}"
    named = {target for room in ROOMS.values() for target in room.imports} - {"anything", "foundation"}
    unknown = [target for target in named if not any(lies_under(name, target) for name in MODULES)]
    assert not unknown, f"hgedge/DESIGN.md opens rooms that are not there: {unknown}"


def test_the_table_would_notice() -> None:
    """The rules bite: what must not be is refused."""
    assert len(FOUNDATION) >= 7 and "spec" in FOUNDATION
    assert not may_import("models.hourglass", "training.loop")
    assert not may_import("spec", "runtime.pipeline")
    assert not may_import("runtime.pipeline", "cli.main")
    assert not may_import("export.rewrites.fold_batchnorm", "export.to_onnx")
    assert may_import("runtime.pipeline", "backends.base")
    assert "torch" not in ROOMS["runtime"].libraries


@pytest.mark.parametrize("folder", ["tests", "engines", "calibration", "benchmarks"])
def test_only_hgedge_is_a_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
