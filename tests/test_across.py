"""One command for several spaces."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zcbench
from zcbench.cli import main
from zcbench.store import load_run
from zcbench.truth import spaces_at_hand

FEW = ("--n", 10, "--proxies", "params,flops,snip", "--batch-size", 8, "--workers", 1)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_runs_and_report_of_several_spaces(tmp_path: Path) -> None:
    out = tmp_path / "across"
    result = invoke("run", "--space", "toy, fcnet", *FEW, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["fcnet", "toy"]
    assert set(load_run(out / "toy")["dataset"]) == {"toy"}
    assert load_run(out / "fcnet")["dataset"].nunique() == 4
    assert "toy · toy · validation accuracy" in result.stdout
    assert "fcnet · slice_localization · best" in result.stdout
    # Five datasets, two spaces: the unit of the ranks.
    assert "Tasks: mean rank over the datasets" in result.stdout
    assert "over 5 datasets" in result.stdout
    assert "over 2 spaces" in result.stdout
    assert f"zcbench: the runs are in {out / 'toy'} {out / 'fcnet'}\n" in result.stderr
    again = invoke("run", "--space", "toy,fcnet", *FEW, "--out", out)
    assert again.stdout == result.stdout
    assert "scored in" not in again.stderr


def test_new_directories_and_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--space", "toy,fcnet", *FEW, "--truth", "none"]
    planned = invoke(*words, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert planned.stdout.count("networks ") == 2
    assert list(tmp_path.iterdir()) == []
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("across-")
    assert sorted(path.name for path in folder.iterdir()) == ["fcnet", "toy"]


def test_a_space_that_does_not_exist(tmp_path: Path) -> None:
    result = invoke("run", "--space", "toy,fcnett", *FEW, "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert "Unknown space 'fcnett'. Did you mean fcnet?" in result.stderr


def test_all_is_every_space_with_accuracies_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in, or a table of the cache that is called after its space."""
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path))
    table = tmp_path / "truth" / "darts.csv"
    table.parent.mkdir()
    space = zcbench.load_space("darts")
    specs = [space.architecture(index).spec for index in (0, 10**9, 10**12)]
    rows = [f'"{spec}",{90 + i},50,60' for i, spec in enumerate(specs)]
    table.write_text("\n".join(["arch,svhn,ninapro,scifar100", *rows]))
    there, absent = spaces_at_hand()
    assert set(there) - {"torchvision"} == {"nb201", "darts", "fcnet"}
    assert "There is no ground truth" in absent["nb101"]
    assert str(tmp_path / "truth" / "nb101.csv") in absent["nb101"]
    assert absent["nats_sss"].startswith("No archive")
    assert len(zcbench.load_truth("darts", "svhn")) == 3


def test_all_runs_what_is_at_hand_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (["toy", "fcnet"], {"nb101": "There is no ground truth for nb101."})
    monkeypatch.setattr(zcbench.truth, "spaces_at_hand", lambda: known)
    result = invoke("run", "--space", "all", *FEW, "--out", tmp_path / "all")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "fcnet",
        "toy",
    ]
    said = "zcbench: nb101 is left out: There is no ground truth for nb101.\n"
    assert said in result.stderr
