"""Published score tables as runs, and how far two sets of scores agree."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats

import zcbench
from zcbench.analysis.agree import agree
from zcbench.analysis.published import load_scores
from zcbench.cli import main
from zcbench.errors import DataError, UsageError
from zcbench.minibatch import open_source
from zcbench.report import correlations
from zcbench.spaces import load_space

NB201 = load_space("nb201")
FORMATS = "Give the JSON of NAS-Bench-Suite-Zero, or a CSV with a column arch."


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def naslib(spec: str) -> str:
    """NASLib's key: operations by source, then target, in its own numbers."""
    names = ["skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"]
    by_edge = {}
    for target, node in enumerate(spec.split("+"), start=1):
        for part in node.strip("|").split("|"):
            operation, source = part.split("~")
            by_edge[int(source), target] = names.index(operation)
    return str(tuple(by_edge[edge] for edge in itertools.combinations(range(4), 2)))


def suite(n: int = 30) -> dict[str, dict[str, dict[str, object]]]:
    """A table as NAS-Bench-Suite-Zero writes it, of n cells on two datasets."""
    rng = np.random.default_rng(0)
    content: dict[str, dict[str, dict[str, object]]] = {}
    for dataset in ("cifar10", "cifar100"):
        content[dataset] = {}
        for index in rng.choice(15_625, n, replace=False).tolist():
            spec = NB201.architecture(index).spec
            size = 28_000 * spec.count("1x1") + 243_040 * spec.count("conv_3x3")
            content[dataset][naslib(spec)] = {
                "params": {"score": size, "time": 0.01},
                "snip": {"score": float(rng.normal()), "time": 0.5},
                "val_accuracy": 90.0,
                "id": index,
            }
    return content


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# --- reading ----------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 5, 77, 4_321, 15_624])
def test_naslib_indices(tmp_path: Path, index: int) -> None:
    spec = NB201.architecture(index).spec
    entry = {"snip": {"score": 2.5, "time": 0.1}}
    path = write(tmp_path / "zc.json", {"cifar10": {naslib(spec): entry}})
    table = load_scores(path, "nb201")
    assert table["arch"].tolist() == [spec]
    assert table["index"].tolist() == [index]


def test_the_suites_json(tmp_path: Path) -> None:
    content = suite()
    table = load_scores(write(tmp_path / "zc_nasbench201.json", content), "nb201")
    assert table.attrs["proxies"] == ["params", "snip"]
    assert table.groupby("dataset").size().to_dict() == {"cifar10": 30, "cifar100": 30}
    for dataset, entries in content.items():
        rows = table[table["dataset"] == dataset].set_index("arch")
        for spec, row in rows.iterrows():
            assert row["snip"] == entries[naslib(str(spec))]["snip"]["score"]
            assert row["seconds"] == {"proxies": {"params": 0.01, "snip": 0.5}}
    only = load_scores(tmp_path / "zc_nasbench201.json", "nb201", ["cifar100"])
    assert set(only["dataset"]) == {"cifar100"}


def test_what_was_not_computed_is_no_score(tmp_path: Path) -> None:
    specs = [NB201.architecture(index).spec for index in range(5)]
    scores = [(0.0, -1), (0.0, 0.2), (-1e8, 0.2), (math.nan, 0.2), (math.inf, 0.2)]
    content = {
        spec: {"snip": {"score": score, "time": time}, "zen": {"score": 1.0}}
        for spec, (score, time) in zip(specs, scores, strict=True)
    }
    path = write(tmp_path / "one.json", content)
    table = load_scores(path, "nb201", ["cifar10"]).set_index("arch").loc[specs]
    assert table["snip"].isna().tolist() == [True, False, True, True, True]
    expected = [{}, {}, {"snip": "nan"}, {"snip": "nan"}, {"snip": "inf"}]
    assert table["status"].tolist() == expected
    assert table["seconds"].iloc[0] == {"proxies": {}}
    assert table["zen"].tolist() == [1.0] * 5


@pytest.mark.parametrize("packed", [False, True])
def test_flat_csv(tmp_path: Path, packed: bool) -> None:
    rows = [["arch", "snip", "val_acc", "zen", "note", "test_seed0"]]
    rows += [[f"0000000{i}", i, 90, "", "x", 1] for i in range(3)]
    text = "\n".join(",".join(map(str, row)) for row in rows).encode() + b"\n"
    path = tmp_path / "scores.csv"
    path.write_bytes(gzip.compress(text) if packed else text)
    table = load_scores(path, "macro", ["cifar10"])
    assert table.attrs["proxies"] == ["snip", "zen"]
    assert table["arch"].tolist() == ["00000000", "00000001", "00000002"]
    assert table["snip"].tolist() == [0, 1, 2]
    assert table["zen"].isna().all()


def test_csv_by_index(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("index,snip\n7,1.5\n3,2.5\n", encoding="utf-8")
    table = load_scores(path, "toy", ["toy"])
    assert table[["index", "snip"]].to_numpy().tolist() == [[3, 2.5], [7, 1.5]]


@pytest.mark.parametrize(
    ("content", "datasets", "kind", "message"),
    [
        (b"{", (), DataError, "{path} is no valid JSON. {f}"),
        (
            b"{}",
            (),
            DataError,
            "{path} does not map architectures to proxies. {f}",
        ),
        (
            b'{"cifar10": {"x": 3}}',
            (),
            DataError,
            "{path} does not map architectures to proxies. {f}",
        ),
        (
            b'{"cifar10": {"x": {"snip": {"score": 1}}}}',
            (),
            DataError,
            "{path}: 'x' is not an architecture of nb201. One looks like ",
        ),
        (
            b'{"cifar10": {"(0, 0, 0, 0, 0, 9)": {"snip": {"score": 1}}}}',
            (),
            DataError,
            "{path}: '(0, 0, 0, 0, 0, 9)' is not an architecture of nb201. One looks",
        ),
        (
            b'{"svhn": {"(0, 0, 0, 0, 0, 0)": {"snip": {"score": 1}}}}',
            (),
            DataError,
            "{path} has no scores of nb201; its datasets are svhn. Name others with "
            "--dataset.",
        ),
        (
            b'{"cifar10": {"(0, 0, 0, 0, 0, 0)": {"snip": {"score": 1}}}}',
            ("cifar100",),
            DataError,
            "{path} has no scores of cifar100; its datasets are cifar10. Name others",
        ),
        (
            b'{"(0, 0, 0, 0, 0, 0)": {"snip": {"score": 1}}}',
            (),
            UsageError,
            "{path} does not say of which dataset its scores are. Name one with --data",
        ),
        (
            b'{"(0, 0, 0, 0, 0, 0)": {"snip": {"score": "high"}}}',
            ("cifar10",),
            DataError,
            "{path} has the score 'high' of snip, which is no number. {f}",
        ),
        (
            b'{"(0, 0, 0, 0, 0, 0)": {"snip": {"score": 1}}, '
            b'"[0, 0, 0, 0, 0, 0]": {"snip": {"score": 1}}}',
            ("cifar10",),
            DataError,
            "{path} has |skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect"
            "~0|skip_connect~1|skip_connect~2| twice, as (0, 0, 0, 0, 0, 0) and [0, 0, "
            "0, 0, 0, 0]. Keep one.",
        ),
        (
            b"a,b\n1,2\n",
            ("cifar10",),
            DataError,
            "{path} does not say which architecture a row is: its columns are a, b. "
            "Add a column arch with architecture strings, or index.",
        ),
        (
            b"index,b\n1,2\n1,3\n",
            ("cifar10",),
            DataError,
            "{path}: 1 of 2 rows repeat an architecture; the first is line 3: |",
        ),
        (b"index\n1\n", ("cifar10",), DataError, "{path} holds no scores. {f}"),
        (b"", ("cifar10",), DataError, "{path} cannot be read as CSV: No columns to"),
        (b"\x1f\x8bxx", ("cifar10",), DataError, "The scores {path} cannot be read: "),
        (
            b"index,b\n1,2\n",
            ("cifar",),
            UsageError,
            "Unknown dataset of nb201 'cifar'.",
        ),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path,
    content: bytes,
    datasets: tuple[str, ...],
    kind: type[Exception],
    message: str,
) -> None:
    path = tmp_path / "scores"
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        load_scores(path, "nb201", datasets)
    expected = message.replace("{path}", str(path)).replace("{f}", FORMATS)
    assert str(caught.value).startswith(expected)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_scores(tmp_path / "none.json", "nb201")
    assert str(caught.value) == (
        f"The scores {tmp_path / 'none.json'} cannot be read: No such file or "
        f"directory. {FORMATS}"
    )


# --- statistics on them -----------------------------------------------------------


def test_correlations_of_published_scores(tmp_path: Path) -> None:
    content = suite(200)
    path = write(tmp_path / "zc.json", content)
    table = correlations([load_scores(path, "nb201")]).set_index(["dataset", "proxy"])
    truth = zcbench.load_truth("nb201", "cifar10").set_index("arch")["val"]
    keys = {naslib(spec): spec for spec in truth.index}
    pairs = [
        (entry["snip"]["score"], truth[keys[key]])
        for key, entry in content["cifar10"].items()
    ]
    expected = stats.spearmanr(*zip(*pairs, strict=True)).statistic
    row = table.loc["cifar10", "snip"]
    assert row["spearman"] == pytest.approx(expected, abs=1e-12)
    assert (row["n"], row["version"], row["seconds_per_arch"]) == (200, 0, 0.5)


def test_report_of_published_scores(tmp_path: Path) -> None:
    path = write(tmp_path / "zc.json", suite())
    result = invoke("report", "--scores", path, "--space", "nb201", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert {(row["dataset"], row["proxy"], row["n"]) for row in rows} == set(
        itertools.product(("cifar10", "cifar100"), ("params", "snip"), ("30",))
    )
    text = invoke(
        "report", "--scores", path, "--space", "nb201", "--dataset", "cifar10"
    )
    assert "list of 30 architectures · minibatch of zc.json\n" in text.stdout
    assert "cifar100" not in text.stdout


def test_tasks_that_have_a_name_are_known(tmp_path: Path) -> None:
    content = {"svhn": suite()["cifar10"]}
    path = write(tmp_path / "zc.json", content)
    table = load_scores(path, "nb201", ["svhn"])
    assert table.attrs["manifest"]["tasks"]["svhn"]["n_classes"] == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Nothing to report is named. Name a run, or --scores FILE."),
        (
            ["--space", "toy"],
            "Nothing to report is named. Name a run, or --scores FILE",
        ),
        (
            ["--scores", "x.csv"],
            "--scores FILE and --space NAME belong together. Give both or neither.",
        ),
    ],
)
def test_mistakes(words: list[str], message: str) -> None:
    result = invoke("report", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"zcbench: {message}")


# --- agreement --------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from zcbench.config import RunConfig
    from zcbench.engine import run as do

    out = tmp_path_factory.mktemp("agree") / "run"
    names = ("params", "snip", "synflow")
    return do(
        RunConfig(space="toy", n=20, proxies=names, workers=1, batch_size=8, out=out)
    )


def test_agreement_by_scipy(run: Path, tmp_path: Path) -> None:
    ours = zcbench.load_run(run)
    rng = np.random.default_rng(1)
    theirs = ours[["arch", "params", "snip", "synflow"]].copy()
    theirs["snip"] += rng.normal(size=len(theirs)) * theirs["snip"].std()
    theirs["synflow"] = np.where(rng.random(len(theirs)) < 0.3, np.nan, 1.0)
    theirs = theirs.iloc[3:].rename(columns={"params": "nothing"})
    path = tmp_path / "scores.csv"
    theirs.to_csv(path, index=False)
    published = load_scores(path, "toy", ["toy"])
    table = agree(ours, published).table.set_index("proxy")
    assert list(table.index) == ["snip", "synflow"]
    both = ours.set_index("arch")["snip"].loc[theirs["arch"]].to_numpy()
    rho = stats.spearmanr(both, theirs["snip"]).statistic
    tau = stats.kendalltau(both, theirs["snip"]).statistic
    row = table.loc["snip"]
    assert (row["n"], row["only_first"], row["only_second"]) == (17, 0, 0)
    assert row["spearman"] == pytest.approx(rho, abs=1e-12)
    assert row["kendall"] == pytest.approx(tau, abs=1e-12)
    assert row["spearman_low"] < rho < row["spearman_high"]
    flow = ours.set_index("arch")["synflow"].loc[theirs["arch"]].notna().to_numpy()
    has = theirs["synflow"].notna().to_numpy()
    assert table.loc["synflow", "only_first"] == (flow & ~has).sum()
    assert table.loc["synflow", "only_second"] == (~flow & has).sum()
    assert table.loc["synflow", "note"] == "constant there"


def test_agree_on_the_command_line(run: Path, tmp_path: Path) -> None:
    text = invoke("agree", run, run)
    assert text.exit_code == 0, text.output
    assert "snip" in text.stdout
    assert "1.00 (perfect)" in text.stdout
    path = tmp_path / "scores.csv"
    zcbench.load_run(run)[["arch", "snip"]].to_csv(path, index=False)
    as_csv = invoke("agree", run, path, "--format", "csv")
    rows = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert [(row["proxy"], float(row["spearman"])) for row in rows] == [("snip", 1.0)]
    as_json = json.loads(invoke("agree", run, path, "--format", "json").stdout)
    assert as_json[0]["n"] == 20
    assert as_json[0]["note"] == "perfect"


def test_nothing_in_common(run: Path, tmp_path: Path) -> None:
    ours = zcbench.load_run(run)
    path = tmp_path / "scores.csv"
    ours[["arch", "snip"]].rename(columns={"snip": "other"}).to_csv(path, index=False)
    result = invoke("agree", run, path)
    assert (result.exit_code, result.stderr) == (
        3,
        f"zcbench: {run} and {path} have no dataset and proxy in common. Compare runs "
        "of the same space.\n",
    )
    path.write_text("arch,snip\n" + f"{_absent(ours)},1\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        agree(ours, load_scores(path, "toy", ["toy"]))
    assert str(caught.value) == (
        f"{run} and {path} have no architecture with scores in common. Run those that "
        "the other has: --archs."
    )


def _absent(ours) -> str:
    toy = load_space("toy")
    specs = (toy.architecture(index).spec for index in range(27))
    return next(spec for spec in specs if spec not in set(ours["arch"]))


def test_params_and_flops_stand_beside_scores_of_a_file(tmp_path):
    space = zcbench.load_space("nb201")
    archs = [space.architecture(i) for i in range(0, len(space), 400)]
    path = tmp_path / "mine.csv"
    rows = [f"{arch.spec};{i}" for i, arch in enumerate(archs)]
    path.write_text("\n".join(["cell;mine", *rows]) + "\n")
    result = invoke(
        *("report", "--scores", path, "--space", "nb201", "--dataset", "cifar10"),
        *("--format", "json"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    rows = {row["proxy"]: row for row in document["correlations"]}
    assert rows.keys() == {"mine", "params", "flops"}
    assert rows["params"]["baseline"]
    assert "computed from the architectures" in result.stderr


@pytest.mark.parametrize("name", ["nb201", "macro", "nats_sss", "fcnet", "toy"])
def test_sizes_are_those_of_the_proxies(name):
    space = zcbench.load_space(name)
    task = next(iter(space.tasks))
    batch = open_source("builtin", space.tasks[task]).batch(4, seed=0)
    for index in range(0, len(space), len(space) // 3):
        arch = space.architecture(index)
        scores = zcbench.score(space.build(arch, task), batch, "params,flops")
        want = scores["params"].value, scores["flops"].value
        assert space.size(arch, task) == want
