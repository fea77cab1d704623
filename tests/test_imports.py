"""The order of rooms: each imports only from those above it, and no module imports in a circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import wsl

ROOT = Path(wsl.__file__).parent
ROOMS = re.findall(r"^`(\w+)` ", wsl.__doc__, re.MULTILINE)


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(tree):
    """Modules of wsl that a module imports anywhere: inside functions and for types alone, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in SOURCES else node.module


IMPORTS = {
    name: {found for found in imported(ast.parse(path.read_text())) if found in SOURCES} - {"wsl"}
    for name, path in SOURCES.items()
}


def room_of(module):
    return module.split(".")[1]


def test_the_map_lists_the_rooms_that_there_are():
    there = {room_of(module) for module in SOURCES if module != "wsl"}
    assert len(ROOMS) == len(set(ROOMS))
    assert set(ROOMS) == there


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_above_it(room):
    above = set(ROOMS[: ROOMS.index(room) + 1])
    wrong = [
        f"{module} imports {found}"
        for module, imports in IMPORTS.items()
        if module != "wsl" and room_of(module) == room
        for found in sorted(imports)
        if room_of(found) not in above
    ]
    assert not wrong


def test_no_module_imports_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(reversed(error.args[1]))}")


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "cli"])
def test_a_room_passes_no_names_on(room):
    """Names are imported from the modules that make them."""
    assert SOURCES[f"wsl.{room}"].name != "__init__.py" or not IMPORTS[f"wsl.{room}"]
