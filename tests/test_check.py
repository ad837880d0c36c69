"""`zcbench check` on good and bad plug-ins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from levels import few

from zcbench.cli import main
from zcbench.conformance.proxies import check_proxy
from zcbench.proxies import PROXIES

HEAD = "import itertools\nimport zcbench\nfrom zcbench import Gradients, Structure\n"
GOOD = '''
@zcbench.proxy(reference="me2026")
def {name}(g: Gradients) -> float:
    """Largest abs(g) over all weights. Higher is better."""
    return max(d.abs().max() for d in g.grads)
'''
COUNTER = '''
calls = itertools.count()

@zcbench.proxy(reference="me2026")
def {name}(s: Structure) -> float:
    """Counts its own calls. Higher is better."""
    return next(calls)
'''
VANDAL = """
@zcbench.proxy(reference="")
def {name}(g: Gradients) -> float:
    for grad in g.grads:
        grad.mul_(2)
    return 1.0
"""
RAISES = '''
@zcbench.proxy(reference="me2026")
def {name}(g: Gradients) -> float:
    """Fails. Higher is better."""
    raise KeyError("no such layer")
'''


def run_check(tmp_path: Path, source: str, name: str) -> tuple[int, dict[str, str]]:
    """Exit code, and check → word (ok or FAIL) of `zcbench check --quick`."""
    file = tmp_path / f"{name}.py"
    file.write_text(HEAD + source.format(name=name), encoding="utf-8")
    try:
        result = CliRunner().invoke(main, ["check", str(file), "--quick"])
    finally:
        if name in PROXIES.names():
            PROXIES.remove(name)
    lines = result.stdout.splitlines()
    assert lines[0] == name
    return result.exit_code, {
        line[8:30].strip(): line[2:6].strip() for line in lines[1:]
    }


def test_a_good_proxy_passes(tmp_path: Path) -> None:
    code, words = run_check(tmp_path, GOOD, "checked_good")
    assert code == 0
    assert {check for check, word in words.items() if word != "ok"} == {"reference"}
    assert len(words) == 9


def test_a_key_that_no_bibliography_has_is_doubted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a_pipe.bib")  # nobody writes
    code, words = run_check(tmp_path, GOOD, "checked_unknown")
    assert (code, words["reference"]) == (0, "??")
    source = GOOD.replace("me2026", "lee2019snip")
    assert run_check(tmp_path, source, "checked_cited")[1]["reference"] == "ok"
    (tmp_path / "mine.bib").write_text("@article{ me2026 ,\n title = {T}}\n")
    assert run_check(tmp_path, GOOD, "checked_own")[1]["reference"] == "ok"


@pytest.mark.parametrize(
    ("source", "name", "failed"),
    [
        (COUNTER, "checked_counter", {"deterministic", "independent"}),
        (
            VANDAL,
            "checked_vandal",
            {
                "docstring",
                "direction",
                "reference",
                "leaves others alone",
                "tells networks apart",
            },
        ),
        (RAISES, "checked_raises", {"finite", "tells networks apart"}),
    ],
)
def test_faults_are_found(tmp_path: Path, source: str, name: str, failed: set) -> None:
    code, words = run_check(tmp_path, source, name)
    assert code == 1
    assert {check for check, word in words.items() if word == "FAIL"} == failed


def test_a_file_without_proxies_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "nothing_in_it.py"
    file.write_text("x = 1\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == 2
    assert result.stderr == (
        f"zcbench: {file} registers no proxy, no space and no truth. See `zcbench new "
        "proxy NAME` for how it is done.\n"
    )


@pytest.mark.parametrize("name", few(["snip", "zen"]))
def test_built_in_proxies_pass(name: str) -> None:
    findings = check_proxy(PROXIES.get(name))
    assert [f.check for f in findings if not f.ok] == []
    assert findings[-1].check == "NAS-Bench-201"


def failed_lines(tmp_path: Path, source: str, name: str) -> list[str]:
    """What `check` says of the checks that a plug-in fails."""
    file = tmp_path / f"{name}.py"
    file.write_text(HEAD + source.replace("{name}", name), encoding="utf-8")
    try:
        result = CliRunner().invoke(main, ["check", str(file), "--quick"])
    finally:
        PROXIES.remove(name)
    return [line for line in result.stdout.splitlines() if "FAIL" in line]


RANDOM = """
@zcbench.proxy(reference="lee2019snip")
def {name}(s: Structure) -> float:
    \"\"\"Depth and {drawn}. Higher is better.\"\"\"
    return float({drawn}) + s.n_layers
"""


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("checked_by_torch", "__import__('torch').rand(1)"),
        ("checked_by_numpy", "__import__('numpy').random.rand()"),
        ("checked_by_python", "__import__('random').random()"),
    ],
)
def test_randomness_is_found_and_said(tmp_path: Path, name: str, drawn: str) -> None:
    failed = failed_lines(tmp_path, RANDOM.replace("{drawn}", drawn), name)
    assert len(failed) == 1
    assert "it draws random numbers of its own: 6 of 6 toy networks" in failed[0]
    assert "f.seed" in failed[0]


SEEDED = '''
import torch
from zcbench import FreshNetwork

@zcbench.proxy(reference="lee2019snip")
def {name}(f: FreshNetwork, s: Structure) -> float:
    """Depth, and noise of its own seed. Higher is better."""
    own = torch.Generator().manual_seed(f.seed)
    return s.n_layers + float(torch.rand(1, generator=own))
'''
NAN = '''
@zcbench.proxy(reference="lee2019snip")
def {name}(s: Structure) -> float:
    """No number. Higher is better."""
    return float("nan")
'''


def test_numbers_of_the_seed_that_it_gets_are_no_randomness(tmp_path: Path) -> None:
    assert failed_lines(tmp_path, SEEDED, "checked_seeded") == []


def test_nan_is_told_to_raise_undefined(tmp_path: Path) -> None:
    failed = failed_lines(tmp_path, NAN, "checked_nan")
    assert "nan on 27 of 27 toy networks" in failed[0]
    assert 'raise Undefined("why")' in failed[0]
