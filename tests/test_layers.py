"""Data flows one way: who may import whom, and what starts without torch."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "zcbench"

# Part of zcbench → the parts that it may import, at any depth of its files.
ALLOWED = {
    "errors": "",
    "types": "",
    "seeding": "",
    "names": "",
    "files": "errors",
    "pickles": "errors",
    "stats": "",
    "state": "errors",
    "registry": "errors names state",
    "aggregates": "errors names",
    "options": "names",
    "config": "errors files options types",
    "networks": "errors files seeding types",
    "spaces": "errors networks registry seeding types",
    "tasks": "errors files spaces types",
    "flat_file": "errors spaces",
    "minibatch": "errors files pickles seeding types",
    "evidence": "errors networks seeding state types",
    "proxies": "aggregates errors evidence registry seeding types",
    "plan": "errors evidence types",
    "evaluate": "errors evidence plan seeding types",
    "truth": "errors files flat_file networks pickles registry seeding spaces tasks",
    "plugins": "errors proxies registry spaces state truth",
    "store": "errors files spaces types",
    "engine": "config errors evaluate evidence files minibatch networks plan "
    "plugins proxies seeding spaces state store tasks truth types",
    "oneshot": "engine errors files minibatch networks proxies seeding spaces store "
    "tasks types",
    "scoring": "engine evaluate evidence plan proxies types",
    "analysis": "aggregates errors files flat_file networks proxies seeding spaces "
    "stats store tasks truth types",
    "report": "analysis config errors files stats store",
    "conformance": "errors evaluate minibatch plan proxies spaces truth types",
}
TOP = {"cli", "__main__", "__init__"}
"""What may import everything."""


@functools.cache
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


@functools.cache
def parts() -> dict[str, list[Path]]:
    """Part → its files."""
    found: dict[str, list[Path]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        top = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        found.setdefault(top, []).append(file)
    return found


def imported(files: list[Path]) -> dict[str, str]:
    """Part that these files import → one of the imports."""
    modules = {(m, file) for file in files for m in imports(file)}
    return {
        m.split(".")[1]: f"{file} imports {m}"
        for m, file in sorted(modules)
        if m.startswith("zcbench.") and m.split(".")[1] in parts()
    }


def test_every_part_has_a_place() -> None:
    assert set(parts()) - TOP == set(ALLOWED)


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_nothing_but_what_it_may(part: str) -> None:
    for other, where in imported(parts()[part]).items():
        assert other in {part, *ALLOWED[part].split()}, where


def test_no_part_imports_itself_through_others() -> None:
    below = {part: set(allowed.split()) for part, allowed in ALLOWED.items()}
    while below:
        ground = {part for part, needs in below.items() if not needs & set(below)}
        assert ground, f"a cycle among {sorted(below)}"
        below = {p: needs for p, needs in below.items() if p not in ground}


@pytest.mark.parametrize("part", ["stats", "report", "analysis", "store"])
def test_statistics_never_import_torch(part: str) -> None:
    for file in parts()[part]:
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


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    words = first.end_lineno - first.lineno + 1 if told else 0
    return function.end_lineno - function.lineno + 1 - words


def test_nothing_is_longer_than_one_can_read() -> None:
    """A function of more than 40 lines, but for its docstring, says above it why."""
    for file in sorted(PACKAGE.rglob("*.py")):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 350, file
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{file}: {node.name}"
                assert node.end_lineno - node.lineno < 60, where
                start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                excused = lines[start - 2].startswith("# Over 40 lines: ")
                assert own_lines(node) <= 40 or excused, where
