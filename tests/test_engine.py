"""Runs on the toy space: what is scored, kept, resumed and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import zcbench
from zcbench.config import RunConfig, load_config
from zcbench.engine import Observer, execute, run
from zcbench.engine.dry_run import dry_run
from zcbench.engine.executors import count_workers
from zcbench.engine.executors.processes import here
from zcbench.engine.job import find_device, make_job
from zcbench.engine.sample import read_archs, sample
from zcbench.errors import DataError, UsageError
from zcbench.proxies import PROXIES
from zcbench.spaces import load_space
from zcbench.store import RunStore, load_run, read_manifest, read_records
from zcbench.store.records import line_of

TOY = RunConfig(
    space="toy", n="all", batch_size=8, truth="none", workers=1, minibatch="builtin"
)
FEW = ("params", "snip", "zen")

pytestmark = pytest.mark.usefixtures("few_draws")


class Recorder(Observer):
    def __init__(self) -> None:
        self.said: list[object] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def start(self, total: int, done: int) -> None:
        self.said.append((total, done))

    def advance(self, failed: int) -> None:
        self.said.append(failed)

    def finish(self) -> None:
        self.said.append("finish")


def scores_of(path: Path) -> dict[tuple[str, int, int], dict[str, float | None]]:
    merged: dict[tuple[str, int, int], dict[str, float | None]] = {}
    for line in read_records(path):
        key = (line["dataset"], line["index"], line["repeat"])
        merged.setdefault(key, {}).update(line["scores"])
    return merged


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 27 networks, all proxies, in one go."""
    with pytest.MonkeyPatch.context() as patch:
        # As few_draws does for each test: this one is for the module.
        patch.setattr("zcbench.evidence.drawn_patterns.DRAWS", 3)
        return run(replace(TOY, out=tmp_path_factory.mktemp("whole") / "run"))


def test_a_run_scores_every_network_with_every_proxy(whole: Path) -> None:
    table = load_run(whole)
    assert list(table["index"]) == list(range(27))
    builtin = [p.name for p in PROXIES.select("all") if p.origin == "built-in"]
    assert set(builtin) <= set(table.attrs["proxies"])
    assert table["params"].notna().all()
    assert len(list(read_records(whole))) == 27
    for line in read_records(whole):
        assert line["arch"] == load_space("toy").architecture(line["index"]).spec
        assert line["seconds"].keys() == {"total", "passes", "proxies"}
        assert line["seconds"]["proxies"].keys() == line["scores"].keys()
        assert line["seconds"]["total"] > 0


def test_scores_are_those_of_the_library(whole: Path) -> None:
    space = load_space("toy")
    from zcbench.minibatch import open_source

    batch = open_source("builtin", space.tasks["toy"]).batch(8, seed=0)
    net = space.build(space.architecture(26), "toy", seed=0)
    names = ["snip", "synflow", "jacov", "zen", "grasp"]
    scores = zcbench.score(net, batch, names, precision="float32")
    expected = {name: score.value for name, score in scores.items()}
    stored = scores_of(whole)["toy", 26, 0]
    assert {name: stored[name] for name in names} == expected


def test_the_manifest_says_what_was_run(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["schema"] == 1
    assert manifest["zcbench"] == zcbench.__version__
    assert (
        manifest["config"]
        | {
            "space": "toy",
            "datasets": ["toy"],
            "n": "all",
            "population": "all",
            "seed": 0,
            "repeats": 1,
            "batch_size": 8,
            "minibatch": "builtin",
            "device": find_device("auto"),
            "workers": 1,
            "threads": 1,
            "target": "auto",
            "truth": "none",
        }
        == manifest["config"]
    )
    versions = {p.name: p.version for p in PROXIES.select("all")}
    assert manifest["proxies"] == versions
    assert list(versions) == manifest["config"]["proxies"]
    assert manifest["minibatch"]["toy"].keys() == {"name", "digest", "batch_digest"}
    # Its metadata leave out the build, such as +cpu, in some releases.
    found, there = manifest["versions"]["torch"], torch.__version__
    assert found.partition("+")[0] == there.partition("+")[0]
    assert "resumed" not in manifest


def test_scores_do_not_depend_on_n_order_or_the_other_proxies(
    whole: Path, tmp_path: Path
) -> None:
    everything = scores_of(whole)
    archs = tmp_path / "archs"
    archs.write_text("26\n3\n14\n")
    configs = [
        replace(TOY, n=5, proxies=("zen", "snip")),
        replace(TOY, n=3, proxies=("jacov",)),
        replace(TOY, archs=archs),
    ]
    for number, config in enumerate(configs):
        path = run(replace(config, out=tmp_path / str(number)))
        for key, scores in scores_of(path).items():
            assert scores == {name: everything[key][name] for name in scores}


@pytest.mark.thorough
def test_other_seeds_repeats_and_batches_give_other_scores(tmp_path: Path) -> None:
    config = replace(TOY, proxies=("snip", "zen"), n=27)
    base = scores_of(run(replace(config, repeats=2, out=tmp_path / "a")))
    seed = scores_of(run(replace(config, seed=1, out=tmp_path / "b")))
    batch = scores_of(run(replace(config, batch_size=9, out=tmp_path / "c")))
    conv = ("toy", 26, 0)
    assert base[conv]["snip"] != base["toy", 26, 1]["snip"]
    assert base[conv]["zen"] != base["toy", 26, 1]["zen"]
    assert base[conv]["snip"] != seed[conv]["snip"]
    assert base[conv]["snip"] != batch[conv]["snip"]
    assert len(base) == 54


def test_adding_proxies_n_and_repeats_does_only_what_is_missing(
    whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    first = replace(TOY, n=4, proxies=("snip",), out=path)
    assert execute(first).evaluated == 4
    before = (path / "scores.jsonl").read_bytes()
    assert execute(first).evaluated == 0
    assert (path / "scores.jsonl").read_bytes() == before
    grown = replace(first, n=6, proxies=("zen", "snip"))
    watcher = Recorder()
    assert execute(grown, watcher).evaluated == 6
    assert watcher.said[0] == (6, 0)  # none had all its proxies
    assert len((path / "scores.jsonl").read_bytes().splitlines()) == 6  # compacted
    assert execute(replace(grown, repeats=2)).evaluated == 6
    for key, scores in scores_of(path).items():
        assert scores.keys() == {"snip", "zen"}
        if key[2] == 0:
            assert scores == {n: scores_of(whole)[key][n] for n in scores}
    config = json.loads((path / "manifest.json").read_text())["config"]
    assert (config["n"], config["repeats"]) == (6, 2)
    assert config["proxies"] == ["snip", "zen"]
    execute(first)  # asking for less takes nothing away
    config = json.loads((path / "manifest.json").read_text())["config"]
    assert (config["n"], config["repeats"]) == (6, 2)


def test_overwrite_modes(tmp_path: Path) -> None:
    config = replace(TOY, n=3, proxies=("snip",), out=tmp_path / "run")
    assert execute(replace(config, overwrite="never")).evaluated == 3
    with pytest.raises(UsageError) as caught:
        execute(replace(config, overwrite="never"))
    assert str(caught.value) == (
        f"{config.out} has scores already, and overwriting is set to never. "
        "Give another --out, or --overwrite only-missing to go on with it."
    )
    before = scores_of(tmp_path / "run")
    assert execute(replace(config, overwrite="always")).evaluated == 3
    assert scores_of(tmp_path / "run") == before
    assert len(list(read_records(tmp_path / "run"))) == 3


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here", "Use --seed 0, or give another"),
        ({"batch_size": 9}, "batch-size is 8 there, 9 here", "Use --batch-size 8, or"),
        ({"threads": 2}, "threads is 1 there, 2 here", "Use --threads 1, or give"),
        (
            {"population": "trimmed"},
            "population is all there, trimmed here",
            "Use --population all, or give another --out.",
        ),
        (
            {"minibatch": "gaussian"},
            "minibatch of toy is builtin there, gaussian here",
            "Give another --out.",
        ),
        (
            {"archs": True},
            "it holds a random sample, this run asks for a list of architectures",
            "Give another --out.",
        ),
    ],
)
def test_another_configuration_is_refused(
    tmp_path: Path, change: dict[str, object], message: str, hint: str
) -> None:
    config = replace(TOY, n=2, proxies=("snip",), out=tmp_path / "run")
    run(config)
    before = (tmp_path / "run" / "scores.jsonl").read_bytes()
    if "archs" in change:
        change = {"archs": tmp_path / "archs"}
        (tmp_path / "archs").write_text("3\n")
    for act in (run, dry_run):
        with pytest.raises(UsageError) as caught:
            act(replace(config, **change))
        what = f"{config.out} is a run of another configuration: {message}."
        assert caught.value.what == what
        assert caught.value.hint.startswith(hint)
    assert (tmp_path / "run" / "scores.jsonl").read_bytes() == before


def test_another_version_of_a_proxy_is_refused_or_replaced(tmp_path: Path) -> None:
    config = replace(TOY, n=3, proxies=("snip", "params"), out=tmp_path / "run")
    path = run(config)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["proxies"]["snip"] = 0
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="scores of another version of snip"):
        run(config)
    run(replace(config, n=1, overwrite="always"))
    assert sorted(map(sorted, scores_of(path).values())) == [
        ["params"],
        ["params"],
        ["params", "snip"],
    ]
    assert execute(config).evaluated == 2


def test_a_changed_plugin_file_is_another_version(tmp_path: Path) -> None:
    config = replace(TOY, n=3, proxies=("params",), out=tmp_path / "run")
    path = run(config)
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["plugins"] == {}
    manifest["plugins"]["params"] = "0" * 64
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="scores of another version of params"):
        run(config)


def test_a_run_that_moved_keeps_a_trace_of_both_places(tmp_path: Path) -> None:
    config = replace(TOY, n=2, proxies=("params",), out=tmp_path / "run")
    path = run(config)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["platform"] = "elsewhere"
    (path / "manifest.json").write_text(json.dumps(manifest))
    run(replace(config, workers=2))  # has nothing to do, and so no part in it
    manifest.pop("crc32")
    assert read_manifest(path) == manifest
    for _ in range(2):  # the second time nothing is new
        run(replace(config, n=3))
        after = json.loads((path / "manifest.json").read_text())
        assert (after["platform"], after["created"]) == (
            "elsewhere",
            manifest["created"],
        )
        assert [entry["platform"] != "elsewhere" for entry in after["resumed"]] == [
            True
        ]


def test_errors_are_tried_again_and_other_failures_are_not(tmp_path: Path) -> None:
    config = replace(TOY, n=3, proxies=("snip", "zen"), out=tmp_path / "run")
    path = run(config)
    lines = list(read_records(path))
    for line, status in zip(lines, ("error", "oom", "nan"), strict=True):
        line["scores"] = {"snip": None, "zen": 1.0}
        line["status"] = {"snip": status}
    (path / "scores.jsonl").write_bytes(b"".join(map(line_of, lines)))
    assert execute(config).evaluated == 2
    assert load_run(path)["snip"].isna().sum() == 1


def test_a_new_directory_is_named_under_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = replace(TOY, n=2, proxies=("params",))
    first, second = run(config), run(config)
    assert first.parent == Path("runs")
    assert first.name.startswith("toy-2")
    assert (first.name[-2:], second.name[-2:]) == ("-1", "-2")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("runs").touch()
    with pytest.raises(DataError, match="cannot be made: Not a directory"):
        run(config)


def test_a_manifest_replays_its_run(tmp_path: Path) -> None:
    archs = tmp_path / "list"
    archs.write_text("26 # all convolutions\n\n|none~0|+|none~0|none~1|\n26\n")
    for name, sampled in (("n", {"n": 4}), ("archs", {"archs": archs})):
        config = replace(TOY, seed=3, proxies=FEW, out=tmp_path / name, **sampled)
        path = run(config)
        again = load_config({"out": tmp_path / f"{name}2"}, file=path / "manifest.json")
        assert scores_of(run(again)) == scores_of(path)
    assert scores_of(tmp_path / "archs2").keys() == {("toy", 26, 0), ("toy", 0, 0)}


def test_further_lists_of_architectures_add_up(tmp_path: Path) -> None:
    archs = tmp_path / "archs"
    config = replace(TOY, archs=archs, proxies=("params",), out=tmp_path / "run")
    archs.write_text("26\n")
    run(config)
    archs.write_text("3\n26\n")
    assert execute(config).evaluated == 1
    specs = (tmp_path / "run" / "archs.txt").read_text().splitlines()
    assert [load_space("toy").parse(spec).index for spec in specs] == [26, 3]


def test_samples_are_nested_and_random() -> None:
    space = load_space("nb201")
    large = sample(space, 200, seed=0, population="all")
    assert sample(space, 100, seed=0, population="all") == large[:100]
    assert len(set(large)) == 200
    assert sample(space, 100, seed=1, population="all") != large[:100]
    every = sample(space, "all", seed=0, population="all")
    assert sorted(every) == list(range(15625))
    assert every[:200] == large
    connected = sample(space, 300, seed=0, population="connected")
    assert set(connected) <= set(space.population("connected").tolist())
    members = set(space.population("connected").tolist())
    assert connected == [index for index in every if index in members][:300]
    quarters = np.histogram(large, bins=4, range=(0, 15625))[0]
    assert quarters.min() > 30


def test_a_small_population_is_taken_whole() -> None:
    space = load_space("toy")
    everything = sample(space, "all", seed=0, population="all")
    assert sample(space, 100, seed=0, population="all") == everything
    assert make_job(replace(TOY, n=100)).notes == (
        "the population all of toy has only 27 architectures: all are taken",
    )
    assert make_job(replace(TOY, n=27)).notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "archs is empty"),
        ("# nothing\n\n", "archs is empty"),
        ("3\n27\n", "line 2: Architecture index 27 is not in toy"),
        ("3\n\n|none~0|\n", "line 3: '|none~0|' is not an architecture of toy"),
        ("-1\n", "line 1: '-1' is not an architecture of toy"),
        ("9" * 30, "line 1: '9999"),
    ],
)
def test_bad_lists_of_architectures(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "archs"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_archs(load_space("toy"), file)
    assert message in caught.value.what
    assert str(file) in caught.value.what


def test_unreadable_lists_of_architectures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none cannot be read: No such file"):
        read_archs(load_space("toy"), tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(DataError, match="binary cannot be read: it is not UTF-8"):
        read_archs(load_space("toy"), tmp_path / "binary")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf3\r\n4\r\n")
    assert read_archs(load_space("toy"), tmp_path / "bom") == [3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "tyo"}, "Unknown space 'tyo'. Did you mean toy?"),
        ({"datasets": ("tyo",)}, "Unknown dataset of toy 'tyo'. Did you mean toy?"),
        ({"proxies": ("snipp",)}, "Unknown proxy 'snipp'. Did you mean snip?"),
        ({"population": "al"}, "Unknown population of toy 'al'. Did you mean all?"),
        ({"device": "cuda:99"}, "There is no device cuda:99 on this machine. Use "),
    ],
)
def test_unknown_names_stop_the_run_before_it_starts(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        run(replace(TOY, out=tmp_path / "run", **change))
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "run").exists()


def test_dry_run_writes_nothing_and_shows_the_plan(tmp_path: Path) -> None:
    config = replace(TOY, proxies=("snip", "grad_norm", "zen"), out=tmp_path / "run")
    lines = dry_run(config)
    assert not (tmp_path / "run").exists()
    text = "\n".join(lines)
    assert "27 architectures × 1 datasets × 1 repeats = 27" in text
    assert any(line.split() == ["forward", "snip", "grad_norm"] for line in lines)
    assert any(line.split() == ["gaussian_response", "zen"] for line in lines)
    assert lines[-1].startswith("time       about ")
    run(replace(config, n=5))
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    assert "27, 5 of them already done" in "\n".join(dry_run(config))
    assert dry_run(replace(config, n=5))[-1] == "time       nothing is missing"
    assert {f: f.read_bytes() for f in (tmp_path / "run").iterdir()} == before


def test_threads_and_random_state_are_given_back(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(replace(TOY, n=2, threads=2, proxies=FEW, out=tmp_path / "run"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


def test_a_network_that_fails_is_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space("toy")
    build = type(space).build

    def broken(self: object, arch: object, *args: object, **more: object) -> object:
        failures = {3: ValueError("no such layer"), 4: torch.OutOfMemoryError("full")}
        if arch.index in failures:
            raise failures[arch.index]
        return build(self, arch, *args, **more)

    monkeypatch.setattr(type(space), "build", broken)
    archs = tmp_path / "archs"
    archs.write_text("3\n4\n5\n")
    watcher = Recorder()
    config = replace(TOY, archs=archs, proxies=FEW, out=tmp_path / "run")
    outcome = execute(config, watcher)
    assert (outcome.evaluated, outcome.failed) == (3, 6)
    assert watcher.said == [(3, 0), 3, 3, 0, "finish"]
    table = load_run(tmp_path / "run")
    assert table["status"][0] == dict.fromkeys(FEW, "error")
    assert table["status"][1] == dict.fromkeys(FEW, "oom")
    first = next(iter(read_records(tmp_path / "run")))
    assert first["messages"]["snip"] == "ValueError: no such layer"


def test_device_and_worker_counts() -> None:
    assert find_device("cpu") == "cpu"
    assert count_workers(3, "cpu") == 3
    assert count_workers("auto", "cuda") == 1
    assert count_workers("auto", "cpu") >= 1


def test_proxies_typed_in_stay_in_this_process(tmp_path: Path) -> None:
    source = (
        "import zcbench\n"
        "@zcbench.proxy(reference='none')\n"
        "def typed_in(s: zcbench.Structure) -> float:\n"
        "    return 1.0\n"
    )
    exec(compile(source, "<stdin>", "exec"), {"__name__": "__main__"})
    try:
        job = make_job(replace(TOY, proxies=("typed_in",), workers=2))
        with pytest.raises(UsageError, match="Other machines cannot import typed_in"):
            make_job(replace(TOY, proxies=("typed_in",), executor="ray"))
        assert job.workers == 1
        items = job.items(lambda key: frozenset())
        assert next(here(job.setup, items))["scores"] == {"typed_in": 1.0}
    finally:
        PROXIES.remove("typed_in")


def test_a_compaction_that_fails_is_only_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: RunStore) -> None:
        raise DataError("The disk is full.", "Make room.")

    monkeypatch.setattr(RunStore, "compact", full)
    watcher = Recorder()
    config = replace(TOY, n=1, proxies=("params",), out=tmp_path / "run")
    assert execute(config, watcher).evaluated == 1
    assert watcher.said[-1] == "The disk is full."
