"""The shape of the package: who may import whom, where heavy libraries are allowed, and how large things may grow."""

from __future__ import annotations

import ast
import graphlib
import statistics
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "petmood"

#: Module or package → rank; a module imports only from lower ranks (within a package freely, but without a ring).
RANKS = {
    "errors": 0, "labels": 0,
    "settings": 1, "geometry": 1, "probabilities": 1, "pictures": 1, "lock": 1,
    "records": 2, "schemas": 2, "charts": 2, "recipes": 2, "bootstrap": 2,
    "archives": 2, "storage": 2,
    "workspace": 3, "wording": 3, "media": 3, "metrics": 3, "parallel": 3, "places": 3,
    "cluster": 4, "remote": 4,
    "crops": 4, "preprocess": 4, "detect": 4, "sources": 4, "video": 4, "drawing": 4, "inputs": 4,
    "data": 5, "synth": 5, "model": 5, "losses": 5, "weights": 5, "sampling": 5, "judging": 5,
    "tracking": 5, "timeline": 5,
    "loading": 6, "bundle": 6, "inference": 6, "engine": 6,
    "predict": 7, "runtime": 7, "features": 7, "adjust": 7, "runfolder": 7, "explain": 7,
    "export": 8, "look": 8, "train": 8, "probe": 8, "evaluate": 8, "report": 8, "doubts": 8, "runs": 8,
    "tune": 9, "doctor": 9, "serve": 9, "elsewhere": 9, "answering": 9, "upkeep": 9,
    "cli": 10,
}  # fmt: skip
HEAVY = {"torch", "torchvision", "timm", "lightning", "torchmetrics", "captum"}
MAY_BE_HEAVY = {
    "preprocess",
    "loading",
    "model",
    "losses",
    "weights",
    "bundle",
    "train",
    "probe",
    "predict",
    "features",
    "inference",
    "explain",
    "export",
    "doctor",
    "detect.coco",  # and nothing else of detect
}
STAGES = {"index", "curate", "pack", "screen", "split"}

MODULES = sorted(SOURCE.rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _unit(name: str) -> str:
    """First part of a module's name below petmood: the thing that has a rank."""
    return name.partition(".")[0]


def _imports(path: Path, *, everywhere: bool = False) -> set[str]:
    """Dotted names that a module imports at its head, or anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if everywhere else _head(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _head(tree: ast.Module) -> list[ast.stmt]:
    """Top-level statements, but for those that only a type checker sees."""
    return [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]


def _own(imports: set[str]) -> set[str]:
    known = {_name(path) for path in MODULES}
    return {name.removeprefix("petmood.") for name in imports if name.startswith("petmood.")} & known


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_from_lower_ranks(path):
    unit = _unit(_name(path))
    if unit in {"", "__main__"}:
        return
    for imported in sorted(_own(_imports(path, everywhere=True))):
        other = _unit(imported)
        if other in {"", unit}:
            continue
        assert RANKS[other] < RANKS[unit], f"{_name(path)} (rank {RANKS[unit]}) imports {imported} ({RANKS[other]})"


def test_no_import_ring():
    graph = {_name(path): _own(_imports(path)) - {_name(path)} for path in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_heavy_libraries_are_imported_only_where_allowed(path):
    heavy = {name.split(".")[0] for name in _imports(path, everywhere=True)} & HEAVY
    assert not heavy or {_name(path), _unit(_name(path))} & MAY_BE_HEAVY


def test_stages_never_import_each_other():
    for stage in STAGES:
        others = {f"data.{other}" for other in STAGES - {stage}}
        assert not _own(_imports(SOURCE / "data" / f"{stage}.py", everywhere=True)) & others


def test_the_command_line_imports_no_stage_before_a_command_is_called():
    imported = {name for name in _imports(SOURCE / "cli" / "__init__.py") if name.startswith("petmood.")}
    assert {name.split(".")[1] for name in imported} <= {"errors", "settings", "PetmoodError", "problems"}


def _functions() -> list[tuple[str, int]]:
    """Every function with its lines of code (signature and docstring included)."""
    return [
        (f"{_name(path)}.{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]


def test_functions_are_small():
    sizes = sorted(size for _, size in _functions())
    assert statistics.median(sizes) <= 15
    assert sizes[int(len(sizes) * 0.95)] <= 60
    assert not [name for name, size in _functions() if size > 120]


def test_modules_are_small():
    sizes = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert statistics.median(sizes.values()) <= 200
    assert not {name: size for name, size in sizes.items() if size > 400}


def test_no_attic():
    assert not {"utils", "helpers", "misc", "common_utils"} & {path.stem for path in MODULES}
