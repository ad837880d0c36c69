"""Someone with a CSV of scores and one of accuracies, from the files to the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import zcbench
from zcbench.cli import main


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Architectures of 45 cells, and their scores in mine.csv of an empty folder."""
    monkeypatch.chdir(tmp_path)
    space = zcbench.load_space("nb201")
    specs = [space.architecture(i).spec for i in range(99, len(space), 350)]
    rows = [f"{spec};{i % 7 + i}" for i, spec in enumerate(specs)]
    Path("mine.csv").write_text("\n".join(["arch;mine", *rows]) + "\n")
    return specs


def report(*words: object) -> Result:
    given = ("report", "--scores", "mine.csv", "--space", "nb201", *words)
    return CliRunner().invoke(main, [*map(str, given), "--dataset", "cifar10"])


def write(head: str, mark: str, specs: list[str], first: float, last: float) -> None:
    step = (last - first) / (len(specs) - 1)
    rows = [f"{spec}{mark}{first + i * step:.5f}" for i, spec in enumerate(specs)]
    Path("own.csv").write_text("\n".join([head, *rows]) + "\n")


@pytest.mark.parametrize(
    ("head", "mark"),
    [("arch,accuracy", ","), ("model,top1", ","), ("model;top1", ";")],
)
@pytest.mark.parametrize(("first", "last"), [(60.0, 87.5), (0.6, 0.875)])
def test_usual_names_marks_and_units_end_in_a_table_with_sizes(
    owner: list[str], head: str, mark: str, first: float, last: float
) -> None:
    write(head, mark, owner, first, last)
    result = report("--truth", "own.csv", "--format", "json")
    assert result.exit_code == 0, result.output
    rows = {row["proxy"]: row for row in json.loads(result.stdout)["correlations"]}
    assert rows.keys() == {"mine", "params", "flops"}
    assert {row["n"] for row in rows.values()} == {len(owner)}
    assert rows["mine"]["spearman"] > 0.9
    assert rows["params"]["baseline"]
    assert ("read as fractions" in result.stderr) == (last < 1)
    assert "params and flops: not in the file, computed" in result.stderr


def test_an_unknown_column_is_asked_for_and_the_command_works(owner: list[str]) -> None:
    write("arch,quality", ",", owner, 60.0, 87.5)
    asked = report("--truth", "own.csv")
    assert (asked.exit_code, asked.stdout) == (3, "")
    assert "say --target quality" in asked.stderr
    told = report("--truth", "own.csv", "--target", "quality")
    assert told.exit_code == 0, told.output
    assert "nb201 · cifar10 · quality" in told.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read as CSV"),
        ("arch,accuracy\n", "has no rows"),
        ("arch,accuracy\n{0},60\n{0},61\n", "1 of 2 rows repeat an architecture"),
        ("arch,accuracy\n{0},high\n", "the first is on line 2: high"),
        ("arch,accuracy\nnor_conv,60\n", "nor_conv"),
        (None, "There is no truth file own.csv."),
    ],
)
def test_files_that_will_not_do_are_one_sentence(
    owner: list[str], content: str | None, message: str
) -> None:
    if content is not None:
        Path("own.csv").write_text(content.format(owner[0]))
    result = report("--truth", "own.csv")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("zcbench: ")
