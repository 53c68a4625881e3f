"""Data flows downwards: a room imports only from the rooms above it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "inksight"
# A room may import from those before it; data and drawing, and training and evaluation and bundle, know each other:
# preparing strokes draws them, and a training run ends with its report and its bundle.
ORDER = [
    {"errors"},
    {"config"},
    {"settings", "workspace"},
    {"plotting"},
    {"data", "drawing"},
    {"models"},
    {"training", "evaluation", "bundle"},
    {"registry"},
    {"tuning"},
    {"serving", "improve"},
    {"web"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def imports(path: Path) -> Iterator[str]:
    """Yield the rooms that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("inksight."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "inksight":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("inksight."))


def test_every_room_has_a_place() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert rooms - {"__init__", "__main__", "__pycache__", "presets"} <= set(RANK)


def test_rooms_import_only_upwards() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__"):
            continue
        below = [other for other in set(imports(path)) & set(RANK) if RANK[other] > RANK[room]]
        wrong += [f"{path.relative_to(PACKAGE)} imports {other}" for other in below]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other() -> None:
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        if path.stem == "__init__":  # it names what its room offers, and imports it when it is asked for
            continue
        found = [
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
        ]
        asked = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
        graph[name] = (asked | {str(node.module) for node in found}) & set(files) - {name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None
