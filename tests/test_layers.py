"""Data flows one way: who may import whom, and what starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "zcbench"

# Folder or file → parts of zcbench that it must not import, at any depth of the file.
FORBIDDEN = {
    "proxies": {"engine", "evaluate", "spaces", "minibatch", "truth", "store", "stats"},
    "evidence": {"proxies", "plan", "evaluate", "spaces", "engine", "store", "truth"},
    "spaces": {"proxies", "evidence", "evaluate", "engine", "truth", "minibatch"},
    "tasks": {"proxies", "evidence", "evaluate", "engine", "truth", "store", "report"},
    "truth": {"proxies", "evidence", "evaluate", "engine", "store", "stats", "report"},
    "minibatch": {"proxies", "evidence", "evaluate", "engine", "spaces", "truth"},
    "stats": {"proxies", "evidence", "evaluate", "engine", "store", "truth", "report"},
    "store": {"proxies", "evidence", "evaluate", "engine", "truth", "report"},
    "report": {"engine", "evaluate", "evidence"},
    "analysis": {"engine", "evaluate", "evidence"},
}


def imports(file: Path) -> set[str]:
    """Modules that a file imports, also inside functions; not for type checking."""
    found: set[str] = set()
    skipped: set[ast.AST] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(n for child in node.body for n in ast.walk(child))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def files(part: str) -> list[Path]:
    place = PACKAGE / part
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_a_layer_imports_nothing_above_it(part: str) -> None:
    assert files(part)
    for file in files(part):
        for module in imports(file):
            top = module.removeprefix("zcbench.").partition(".")[0]
            above = module.startswith("zcbench.") and top in FORBIDDEN[part]
            assert not above, f"{file} imports {module}"


@pytest.mark.parametrize("part", ["stats", "report", "analysis", "store"])
def test_statistics_never_import_torch(part: str) -> None:
    for file in files(part):
        assert not {m for m in imports(file) if m.partition(".")[0] == "torch"}, file


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        (["--help"], {"torch", "pandas", "scipy", "numpy"}),
        (["list", "proxies"], {"torch", "pandas", "scipy"}),
        (["list", "spaces"], {"torch", "pandas", "scipy"}),
        (["list", "datasets"], {"torch", "pandas", "scipy"}),
        (["list", "truths"], {"torch", "pandas", "scipy"}),
        (["show", "snip"], {"torch", "pandas", "scipy"}),
        (["report", "--help"], {"torch", "pandas", "scipy"}),
        (["compare", "--help"], {"torch", "pandas", "scipy"}),
    ],
    # Sets have no order that two processes share, as pytest-xdist needs.
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_these_start_without_heavy_imports(command: list[str], heavy: set[str]) -> None:
    code = (
        "import sys, zcbench.cli\n"
        f"sys.argv = ['zcbench', *{command!r}]\n"
        "try:\n    zcbench.cli.main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('LOADED', sorted({heavy!r} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "LOADED []"


def test_importing_zcbench_imports_neither_torch_nor_pandas() -> None:
    code = "import sys, zcbench; assert not {'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
