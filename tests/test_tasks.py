"""Tasks given to a space, and targets that are columns of a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import zcbench
from zcbench.cli import main
from zcbench.engine.sample import read_archs
from zcbench.errors import DataError, UsageError
from zcbench.minibatch import open_source
from zcbench.spaces import load_space
from zcbench.tasks import (
    GivenTask,
    given_tasks,
    load_task,
    space_of,
    task_names,
    with_input_size,
    with_tasks,
)
from zcbench.types import Task

WIDE = """
name = "wide"
space = "toy"
input-shape = [1, 8, 12]
n-classes = 3
"""


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    file = tmp_path / "wide.toml"
    file.write_text(WIDE, encoding="utf-8")
    return file


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def write_truth(path: Path, columns: dict[str, list[float]], n: int = 27) -> Path:
    specs = [load_space("toy").architecture(index).spec for index in range(n)]
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["arch", *columns])
        writer.writerows(zip(specs, *columns.values(), strict=True))
    return path


# --- task files -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("ninapro", (1, 16, 52), 18),
        ("scifar100", (3, 60, 60), 100),
        ("svhn", (3, 32, 32), 10),
    ],
)
def test_named_tasks(name: str, shape: tuple[int, ...], classes: int) -> None:
    assert name in task_names()
    assert load_task(name) == GivenTask("nb201", Task(name, shape, classes))


def test_networks_and_images_have_the_tasks_shape() -> None:
    space = with_tasks(load_space("nb201"), [load_task("ninapro")])
    network = space.build(space.architecture(9_000), "ninapro")
    batch = open_source("builtin", space.tasks["ninapro"]).batch(4, seed=0)
    assert batch.x.shape == (4, 1, 16, 52)
    assert network(batch.x).shape == (4, 18)
    other = dict(space.build(space.architecture(9_000), "cifar10").named_parameters())
    for key, value in network.named_parameters():
        if value.shape == other[key].shape:
            assert torch.equal(value, other[key])


def test_a_file(wide: Path) -> None:
    given = load_task(str(wide))
    assert given == GivenTask("toy", Task("wide", (1, 8, 12), 3))
    space = with_tasks(load_space("toy"), [given, given])
    assert list(space.tasks) == ["toy", "wide"]
    assert given_tasks(space) == (given,)
    assert with_tasks(space, [given]) is space
    assert list(load_space("toy").tasks) == ["toy"]


def test_a_space_whose_tasks_cannot_be_set() -> None:
    class Fixed(type(load_space("toy"))):
        tasks = property(lambda _: {"toy": Task("toy", (3, 8, 8), 4)})

    with pytest.raises(UsageError, match="networks of toy cannot take the task wide"):
        with_tasks(Fixed(), [GivenTask("toy", Task("wide", (1, 8, 12), 3))])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[1, 8, 12]",
            "[8, 12]",
            "input-shape must be [C, H, W] of an image or [D] of ",
        ),
        (
            "[1, 8, 12]",
            "[1, 8, 0]",
            "input-shape must be [C, H, W] of an image or [D] ",
        ),
        (
            "n-classes = 3",
            "n-classes = 3.5",
            "n-classes must be a whole number above 0",
        ),
        ("n-classes = 3", "n_classes = true", "above 0, not True."),
        (
            "n-classes = 3",
            "",
            "n-classes must be a whole number above 0, and is missing",
        ),
        ('"wide"', '" "', "name must be a name, not ' '."),
        (
            '"wide"',
            '"wide"\nloss = "mae"',
            "loss must be cross_entropy or mse, not 'ma",
        ),
        (
            '"wide"',
            '"wide"\nlos = "mse"',
            "has the unknown key 'los'. Keys are name, sp",
        ),
        (
            '"wide"',
            '"wide"\nloss = "mse"',
            "has 3 classes and the loss mse. A regression has n-classes = 1 and loss = "
            "'mse', all else 2 or more.",
        ),
        ("n-classes = 3", "n-classes = 1", "has 1 classes and the loss cross_entropy."),
        ('"wide"', "wide", "cannot be read: "),
    ],
)
def test_bad_files(wide: Path, old: str, new: str, message: str) -> None:
    wide.write_text(WIDE.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load_task(str(wide))
    assert str(caught.value).startswith(f"The task {wide}")
    assert message in str(caught.value)


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"task 'ninapor'\. Did you mean ninapro\?"):
        load_task("ninapor")
    missing = tmp_path / "no.toml"
    with pytest.raises(DataError) as caught:
        load_task(str(missing))
    assert str(caught.value) == (
        f"The task {missing} cannot be read: No such file or directory. See "
        "zcbench/tasks for examples, and docs/spaces.md."
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            GivenTask("toy", Task("toy", (3, 9, 9), 4)),
            "toy has another task that is called toy. Rename the one in the file.",
        ),
        (
            GivenTask("toy", Task("table", (9,), 4)),
            "The networks of toy cannot take the task table with inputs of 9. Give a "
            "task with inputs of the kind that the space's own have.",
        ),
        (
            GivenTask("fcnet", Task("image", (3, 8, 8), 4)),
            "The networks of fcnet cannot take the task image with inputs of 3×8×8. "
            "Give a task with inputs of the kind that the space's own have.",
        ),
    ],
)
def test_tasks_that_a_space_cannot_have(given: GivenTask, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_tasks(load_space(given.space), [given])
    assert str(caught.value) == message


def test_the_manifest_keeps_tasks() -> None:
    given = load_task("svhn")
    manifest = json.loads(json.dumps({"tasks": {"svhn": given.as_dict()}}))
    assert space_of("nb201", manifest).tasks["svhn"] == given.task
    assert space_of("nb201", {}) is load_space("nb201")
    with pytest.raises(DataError, match="The task x in the manifest: name must be a"):
        space_of("nb201", {"tasks": {"x": {"space": "nb201"}}})


# --- runs -------------------------------------------------------------------------


def test_run_report_and_resume(wide: Path, tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "truth.csv", {"wide": list(range(27))})
    out = tmp_path / "run"
    words = ["run", "--space", "toy", "--task", wide, "--truth", truth, "--out", out]
    words += ["--n", 12, "--workers", 1, "--batch-size", 8, "--proxies", "params,snip"]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert "toy · wide · accuracy" in result.stdout
    run = zcbench.load_run(out)
    assert set(run["dataset"]) == {"wide"}
    assert run.attrs["manifest"]["tasks"] == {
        "wide": {
            "space": "toy",
            "name": "wide",
            "input_shape": [1, 8, 12],
            "n_classes": 3,
            "loss": "cross_entropy",
        }
    }
    report = invoke("report", out, "--format", "csv")
    assert report.exit_code == 0, report.output
    rows = list(csv.DictReader(report.stdout.splitlines()))
    assert {(row["dataset"], row["target"], row["n"]) for row in rows} == {
        ("wide", "accuracy", "12")
    }
    again = invoke(*words, "--dry-run")
    assert "12 of them already done" in again.stdout, again.output
    twin = invoke("run", "--config", out / "manifest.json", "--dry-run")
    assert twin.exit_code == 0, twin.output
    assert "datasets   wide\n" in twin.stdout


@pytest.mark.thorough
def test_workers_know_the_task(wide: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["run", "--space", "toy", "--task", wide, "--truth", "none", "--out", out]
    words += ["--n", 4, "--workers", 2, "--batch-size", 8, "--proxies", "snip"]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert len(zcbench.load_run(out)) == 4
    assert not zcbench.load_run(out)["status"].map(len).any()


def test_tasks_of_one_name_in_one_report(wide: Path, tmp_path: Path) -> None:
    """A task belongs to its run: other sizes and classes under the same name."""
    other = tmp_path / "other" / "wide.toml"
    other.parent.mkdir()
    other.write_text(WIDE.replace("[1, 8, 12]", "[3, 8, 8]").replace("= 3", "= 5"))
    truth = write_truth(tmp_path / "truth.csv", {"wide": list(range(27))})
    runs = []
    for task in (wide, other):
        runs.append(tmp_path / f"run{len(runs)}")
        words = ["--task", task, "--truth", truth, "--out", runs[-1], "--n", 12]
        words += ["--workers", 1, "--batch-size", 8, "--proxies", "params,snip"]
        result = invoke("run", "--space", "toy", *words)
        assert result.exit_code == 0, result.output
    loaded = [zcbench.load_run(run) for run in runs]
    sizes = [space_of("toy", run.attrs["manifest"]).tasks["wide"] for run in loaded]
    assert [task.n_classes for task in sizes] == [3, 5]
    assert not loaded[0]["params"].equals(loaded[1]["params"])
    report = invoke("report", *runs, "--format", "csv")
    assert report.exit_code == 0, report.output
    rows = list(csv.DictReader(report.stdout.splitlines()))
    assert [row["proxy"] for row in rows].count("snip") == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--space", "nb201"],
            2,
            "The task wide is for toy, not for nb201. Say --space toy.",
        ),
        (
            ["--space", "toy", "--datasets", "toy"],
            2,
            "--task and --datasets exclude each other. Drop --datasets: the run is "
            "about the tasks.",
        ),
        (
            ["--space", "toy"],
            3,
            "The task wide was given to toy, which has no truth for it. Give a table "
            "with --truth FILE.",
        ),
    ],
)
def test_mistakes(wide: Path, words: list[str], code: int, message: str) -> None:
    result = invoke("run", "--task", wide, *words, "--out", wide.parent / "run")
    assert (result.exit_code, result.stderr) == (code, f"zcbench: {message}\n")


# --- input size -------------------------------------------------------------------


def test_input_size_is_part_of_a_run(tmp_path: Path) -> None:
    """It reaches every worker, every table, the manifest, resume and compare."""
    outs = [tmp_path / "own", tmp_path / "six"]
    words = ["--space", "toy", "--n", 6, "--batch-size", 8, "--proxies", "params,flops"]
    given = ([], ["--input-size", 6])
    for out, workers, more in zip(outs, (1, 2), given, strict=True):
        result = invoke("run", *words, *more, "--workers", workers, "--out", out)
        assert result.exit_code == 0, result.output
        size = "minibatch builtin at 6×6" if more else "minibatch builtin · "
        assert size in result.stdout
    own, six = map(zcbench.load_run, outs)
    assert six.attrs["manifest"]["config"]["input_size"] == 6
    assert (own["params"] == six["params"]).all()
    space = with_input_size(load_space("toy"), 6)
    for run, searched in ((own, load_space("toy")), (six, space)):
        for row in run.to_dict("records"):
            net = searched.build(searched.architecture(row["index"]), "toy")
            batch = open_source("builtin", searched.tasks["toy"]).batch(4, seed=0)
            assert zcbench.score(net, batch, "flops")["flops"].value == row["flops"]
    other = invoke("run", *words, "--out", outs[1])
    assert other.exit_code == 2
    assert "input-size is 6 there, auto here" in other.stderr
    assert "--input-size 6" in other.stderr
    compared = invoke("compare", *outs)
    assert "input size" in compared.output
    dry = invoke("run", *words, "--input-size", 6, "--out", outs[1], "--dry-run")
    assert "8 images at 6×6: builtin" in dry.stdout
    assert "6 of them already done" in dry.stdout
    html = invoke("report", outs[1], "--format", "html")
    assert "builtin at 6×6, batch size 8" in html.stdout
    report = json.loads(invoke("report", outs[1], "--format", "json").stdout)
    assert report["runs"][0]["sections"][0]["input_size"] == 6


def test_input_size_of_all_but_what_is_not_square() -> None:
    given = load_task("ninapro")
    space = with_tasks(load_space("nb201"), [given])
    smaller = with_input_size(space, 8)
    assert smaller.tasks["cifar10"].input_shape == (3, 8, 8)
    assert smaller.tasks["ninapro"] == given.task
    assert space.tasks["cifar10"].input_shape == (3, 32, 32)
    assert with_input_size(space, "auto") is space


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--space", "nb201", "--task", "svhn,ninapro"],
            "--input-size is for square images, but ninapro has inputs of 1×16×52. "
            "Leave ninapro out, or leave its size.",
        ),
        (
            ["--space", "fcnet", "--datasets", "protein_structure"],
            "--input-size is for square images, but protein_structure has inputs of 9. "
            "Leave protein_structure out, or leave its size.",
        ),
    ],
)
def test_no_input_size_of_what_is_not_square(
    words: list[str], message: str, tmp_path: Path
) -> None:
    words += ["--input-size", "8", "--truth", "none"]
    result = invoke("run", *words, "--out", tmp_path / "run")
    assert (result.exit_code, result.stderr) == (2, f"zcbench: {message}\n")


# --- targets and lists from tables ------------------------------------------------


def test_any_column_can_be_a_target(tmp_path: Path) -> None:
    values = [float(index) for index in range(27)]
    seeds = {"toy_pgd_seed0": values, "toy_pgd_seed1": [v + 2 for v in values]}
    path = write_truth(tmp_path / "t.csv", {"val": values, "fast": [-1e9] * 27} | seeds)
    table = zcbench.load_truth("toy", "toy", str(path), "fast")
    assert table.attrs["targets"] == ["val", "fast"]
    assert set(table["fast"]) == {-1e9}
    plain = zcbench.load_truth("toy", "toy", str(path))
    assert plain.attrs["targets"] == ["val"]
    assert "fast" not in plain


def test_a_target_by_seed_and_dataset(tmp_path: Path) -> None:
    values = [float(index) for index in range(27)]
    seeds = {"pgd@8_seed0": values, "pgd@8_seed1": [v + 2 for v in values]}
    path = write_truth(tmp_path / "t.csv", seeds)
    table = zcbench.load_truth("toy", "toy", str(path), "pgd@8")
    assert table.attrs["targets"] == ["pgd@8"]
    assert table["pgd@8"].tolist() == [v + 1 for v in values]
    with pytest.raises(DataError, match=r"t\.csv has no accuracies for toy: its colu"):
        zcbench.load_truth("toy", "toy", str(path), "fgsm")


def test_a_column_called_after_the_dataset(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    specs = [load_space("toy").architecture(index).spec for index in range(3)]
    lines = [f"{specs[0]},50,1", f"{specs[1]},,2", f"{specs[2]},52,3"]
    path.write_text("\n".join(["arch,toy,other", *lines]) + "\n", encoding="utf-8")
    table = zcbench.load_truth("toy", "toy", str(path))
    assert table.attrs["targets"] == ["accuracy"]
    assert table["accuracy"].tolist() == [50, 52]  # the other was not trained on it
    path.write_text(f"arch,toy\n{specs[0]},101\n", encoding="utf-8")
    with pytest.raises(
        DataError, match="1 of 1 values in toy are no accuracy in perce"
    ):
        zcbench.load_truth("toy", "toy", str(path))


def test_a_table_as_a_list_of_architectures(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "t.csv", {"val": [1.0] * 5}, n=5)
    assert read_archs(load_space("toy"), path) == [0, 1, 2, 3, 4]
    path.write_text("val,arch\n1,|none~0|\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv, line 2: '\|none~0\|' is not an arch"):
        read_archs(load_space("toy"), path)


# --- published tables -------------------------------------------------------------


def test_other_tasks_of_nb201(shared_data: Path) -> None:
    """On two of them even #params is at −.1."""
    expected = {"ninapro": -0.10, "scifar100": -0.11, "svhn": 0.76}
    path = shared_data / "nb201_other_tasks.csv"
    space = load_space("nb201")
    assert len(read_archs(space, path)) == 199
    sizes = {"1x1": 28_000, "3x3": 243_040}
    for name, rho in expected.items():
        wider = with_tasks(space, [load_task(name)])
        table = zcbench.load_truth(wider, name, str(path))
        assert (len(table), table.attrs["targets"]) == (199, ["accuracy"])
        params = table["arch"].map(
            lambda spec: sum(spec.count(f"conv_{k}") * n for k, n in sizes.items())
        )
        found = params.corr(table["accuracy"], method="spearman")
        assert found == pytest.approx(rho, abs=0.006)


def test_robustness_of_nb201(shared_data: Path) -> None:
    path = str(shared_data / "nb201_robustness_cifar10.csv")
    table = zcbench.load_truth("nb201", "cifar10", path, "pgd@Linf_eps-1.0")
    assert table.attrs["targets"] == ["pgd@Linf_eps-1.0"]
    assert len(table) == 15_625
    assert np.isfinite(table["pgd@Linf_eps-1.0"]).all()
    twelve = str(shared_data / "nb201_test_accuracy.csv")
    table = zcbench.load_truth("nb201", "cifar100", twelve, "test_12")
    assert "test_12" in table.attrs["targets"]
