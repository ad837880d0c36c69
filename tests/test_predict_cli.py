"""`zcbench predict` on a run with made-up scores."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from report_runs import ACCURACY, SPECS, write_run

from zcbench.cli import main

FEW = ["--train", "8", "--trials", "3", "--models", "ridge"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "first")


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, words)])


def test_text(run: Path) -> None:
    result = invoke(run, *FEW)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("toy · toy · validation accuracy")
    assert "encoding+shuffled" in result.stdout
    assert "No test architecture is isomorphic to a training one" in " ".join(
        result.stdout.split()
    )
    assert result.stderr == ""


def test_json_and_csv_say_the_same(run: Path) -> None:
    words = [run, "--train", "6,10", "--trials", 3, "--models", "ridge,knn"]
    words += ["--features", "encoding,encoding+jacov", "--isomorphs", "keep"]
    told = json.loads(invoke(*words, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(invoke(*words, "--format", "csv").stdout)))
    assert len(rows) == len(told["predictions"]) == 8
    for row, record in zip(rows, told["predictions"], strict=True):
        assert float(row["spearman"]) == pytest.approx(record["spearman"], abs=1e-5)
    assert told["setting"]["train"] == [6, 10]
    assert told["setting"]["isomorphs"] == "keep"
    assert told["section"]["dataset"] == "toy"
    assert told["scores"] == ["params", "n_layers", "jacov", "snip"]
    assert "importance" not in told


def test_markdown_into_a_file(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "table.md"
    words = [*FEW, "--importance", "--proxies", "jacov,params", "--format", "md"]
    result = invoke(run, *words, "-o", file)
    assert (result.exit_code, result.output) == (0, "")
    text = file.read_text()
    assert "| trained on | model | features | ρ |" in text
    assert "### What predictors use\n" in text
    assert "snip" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--models", "xyz"],
            "Unknown model 'xyz'. Known: forest, gbdt, knn, lightgbm, ridge, xgboost.",
        ),
        (["--dataset", "tou"], "Unknown dataset of this run 'tou'. Did you mean toy?"),
        (["--features", "snap"], "Unknown feature 'snap'. Did you mean snip?"),
        (
            ["--proxies", "jacow"],
            "Unknown proxy of this run 'jacow'. Did you mean jacov?",
        ),
        (
            ["--importance", "--format", "csv"],
            "A CSV holds one table, and 2 are asked for. Ask for less, or choose "
            "--format json.",
        ),
        (
            ["--test", "30", "--isomorphs", "keep"],
            "27 architectures are too few: 8 to train on and 30 to test on are asked "
            "for. Score more, train or test on fewer.",
        ),
        (
            ["--train", "1,x"],
            "Invalid value for '--train': '1,x' is not a list of whole numbers of at "
            "least 2. See main predict --help.",
        ),
        (
            ["--test", "3"],
            "Invalid value for '--test': '3' is neither rest nor a whole number of at "
            "least 4. See main predict --help.",
        ),
        (
            ["--features", " , "],
            "Invalid value for '--features': No name is given. "
            "See main predict --help.",
        ),
    ],
)
def test_errors(run: Path, words: list[str], message: str) -> None:
    result = invoke(run, *FEW, *words)
    assert result.exit_code == 2
    assert result.stderr == f"zcbench: {message}\n"
    assert result.stdout == ""


def test_several_datasets_need_a_name() -> None:
    run = Path(__file__).parent.parent / "results" / "nb201-today-4"
    result = invoke(run)
    assert result.exit_code == 2
    assert (
        "has 3 datasets: ImageNet16-120, cifar10, cifar100. Name one" in result.stderr
    )


@pytest.mark.parametrize(
    ("module", "models", "words"),
    [
        (
            "sklearn",
            "gbdt",
            "Predictors need scikit-learn, which is not installed. Install it: pip "
            "install 'zcbench[predict]'.",
        ),
        (
            "xgboost",
            "ridge,xgboost",
            "The model xgboost needs XGBoost, which is not installed. Install it: pip "
            "install xgboost; or use gbdt.",
        ),
        (
            "lightgbm",
            "lightgbm",
            "The model lightgbm needs LightGBM, which is not installed. Install it: "
            "pip install lightgbm; or use gbdt.",
        ),
    ],
)
def test_what_is_not_installed(
    run: Path, monkeypatch: pytest.MonkeyPatch, module: str, models: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    result = invoke(run, "--models", models)
    assert result.exit_code == 2
    assert result.stderr == f"zcbench: {words}\n"


def test_architectures_without_truth_are_told(run: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    lines = [f"{a},{max(0.0, b)}" for a, b in zip(SPECS[2:], ACCURACY[2:], strict=True)]
    truth.write_text("arch,val\n" + "\n".join(lines) + "\n")
    result = invoke(run, *FEW, "--truth", truth, "--isomorphs", "keep")
    assert result.exit_code == 0, result.output
    assert result.stderr.endswith("and left out.\n")
    assert "test architectures of these 25." in " ".join(result.stdout.split())


def test_the_environment_decides_about_threads(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{name}_NUM_THREADS", "")
        monkeypatch.delenv(f"{name}_NUM_THREADS")
    invoke(run, *FEW)
    assert os.environ["OMP_NUM_THREADS"] == "1"
