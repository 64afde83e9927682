"""The rooms of the package: which may import which, and who may use a library or a run's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "crossview"

FLOORS = {
    "core": 1,
    "kernels": 1,
    "networks": 2,
    "methods": 2,
    "data": 2,
    "training": 3,
    "inference": 3,
    "evaluation": 4,
    "recipe": 4,
    "reporting": 5,
    "runs": 6,
    "cli": 7,
    "__main__": 8,
}
"""The floor of each room. A room imports rooms of lower floors only.

The package's own __init__ imports on first use only, so it has no floor.
"""

ALSO = {("kernels", "core"), ("methods", "networks")}
"""Imports within a floor: kernels need the errors of core, methods are built from networks."""

LIBRARIES = {
    "typer": {"cli"},
    "rich": {"cli", "training.progress"},  # progress bars are drawn while a run trains
    "nibabel": {"data.io"},
    "nrrd": {"data.io"},
    "pydicom": {"data.io"},
    "highdicom": {"data.io"},
    "h5py": {"data.io"},
    "imagecodecs": {"data.io"},
    "tifffile": {"data.io"},
    "PIL": {"data.io", "reporting"},  # scans are read in data.io, pictures drawn in reporting
    "triton": {"kernels"},
    "onnx": {"runs.onnx_file"},
    "onnxruntime": {"runs.onnx_file"},
    "tensorboard": {"runs.track.tensorboard"},
    "mlflow": {"runs.track.mlflow"},
    "jinja2": {"reporting"},
}
"""Rooms or modules that may import a library."""

RUN_FILES = {
    "recipe.toml",
    "environment.json",
    "journal.jsonl",
    "plan.json",
    "bench.json",
    "summary.json",
    "cases.csv",
}
"""Files of a run folder. Only core.run_folder names them."""


def dotted(path: Path) -> str:
    """Return the name of a file's module, without "crossview."."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))))


@cache
def imports(module: str) -> frozenset[str]:
    """Return all modules that a module imports, inside functions and for types too.

    Those of the package come without "crossview.", others by their first name.
    """
    found = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        for name in names:
            package, _, inner = name.partition(".")
            if package != "crossview":
                found.add(package)
            else:
                found.add(inner if inner in FILES else inner.rpartition(".")[0] or "__init__")
    return frozenset(found - {module})


def room(module: str) -> str:
    return module.partition(".")[0]


def within(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def upward() -> Iterator[tuple[str, str]]:
    for module in FILES.keys() - {"__init__"}:
        for other in imports(module) & FILES.keys():
            here, there = room(module), room(other)
            allowed = here == there or (here, there) in ALSO
            if not allowed and FLOORS.get(there, 9) >= FLOORS[here]:
                yield module, other


def into_kernels() -> Iterator[tuple[str, str]]:
    for module in FILES:
        if room(module) != "kernels":
            yield from ((module, other) for other in imports(module) if other[:8] == "kernels.")


def libraries() -> Iterator[tuple[str, str]]:
    for module in FILES:
        for library in imports(module) & LIBRARIES.keys():
            if not within(module, LIBRARIES[library]):
                yield module, library


def run_files() -> Iterator[tuple[str, str]]:
    for module in FILES.keys() - {"core.run_folder"}:
        texts = {node.value for node in nodes(module) if isinstance(node, ast.Constant)}
        yield from ((module, name) for name in RUN_FILES & texts)


RULES = {
    "a module imports from lower floors or its own room": upward,
    "kernels are imported through crossview.kernels": into_kernels,
    "a library is imported only by its rooms": libraries,
    "only core.run_folder names the files of a run": run_files,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule):
    assert set(RULES[rule]()) == set()


def test_there_is_no_circle_between_files():
    known = {module: imports(module) & FILES.keys() for module in FILES.keys() - {"__init__"}}
    TopologicalSorter(known).prepare()  # raises CycleError, which names the files


def test_every_room_has_a_floor_and_the_root_is_short():
    here = [path for path in PACKAGE.iterdir() if path.name not in ("py.typed", "__pycache__")]
    folders = {path.name for path in here if path.is_dir()}
    assert {path.name for path in here} - folders == {"__init__.py", "__main__.py"}
    assert folders == FLOORS.keys() - {"__main__"}
    assert len(folders) <= 12


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in FILES.values()}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_images_are_opened_where_scans_are_read_and_pages_embed_them():
    opened = {
        module
        for module in FILES
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "Image.open"
    }
    assert opened <= {"data.io.png", "reporting.images"}


def test_json_and_toml_are_parsed_in_one_place():
    """Elsewhere a file that nests too deeply would end in a RecursionError."""
    parsers = {"json.loads", "json.load", "tomllib.loads", "tomllib.load"}
    parsed = {
        module
        for module in FILES
        for node in nodes(module)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in parsers
    }
    assert parsed == {"core.parse"}
