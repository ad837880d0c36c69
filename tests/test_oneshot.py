"""One-shot training: supernet, paths, resume after kill -9, scores beside proxies."""

from __future__ import annotations

import functools
import json
import os
import pickle
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as some
from test_hostile import Bomb
from torch.nn.functional import pad

import zcbench
from zcbench.analysis.join import studies
from zcbench.analysis.search.pool import Setting as Search
from zcbench.analysis.search.pool import Variant, search_pool
from zcbench.analysis.search.simulate import simulate
from zcbench.cli import main
from zcbench.minibatch.builtin import Random
from zcbench.minibatch.image_files import Images
from zcbench.networks.cell import CellNetwork
from zcbench.networks.cell_graph import live_edges
from zcbench.oneshot import column
from zcbench.oneshot.images import Split, labelled_images
from zcbench.oneshot.paths import Guide, Paths
from zcbench.oneshot.supernet import Supernet, accuracy_of, make_supernet
from zcbench.proxies import PROXIES
from zcbench.report import make_report, render
from zcbench.spaces import load_space
from zcbench.spaces.cell import CellSpace

NB201, TOY = load_space("nb201"), load_space("toy")
assert isinstance(NB201, CellSpace)
assert isinstance(TOY, CellSpace)
TASK = NB201.tasks["ImageNet16-120"]
WORDS = (
    *("oneshot", "--space", "toy", "--n", "6", "--steps", "30"),
    *("--train-batch", "16", "--recalibrate", "64"),
)

SHORT = WORDS[5:]


@pytest.fixture(scope="module", autouse=True)
def _painted_once() -> Iterator[None]:
    """Built-in images take longer to paint than to train on here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column, "labelled_images", functools.cache(labelled_images))
        yield


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def scores(run: Path, name: str = "oneshot") -> dict[tuple[int, int], float]:
    table = zcbench.load_run(run)
    return dict(
        zip(zip(table["index"], table["repeat"], strict=True), table[name], strict=True)
    )


def alone(net: Supernet, index: int) -> CellNetwork:
    """The architecture as a network of its own, with the weights it inherits."""
    cell = NB201.cell(NB201.architecture(index).spec)
    made = CellNetwork(cell, NB201.n_nodes, TASK, (4, 8, 16), 1).to(torch.float64)
    held, state = net.state_dict(), made.state_dict()
    for name in state:
        parts = name.split(".")
        if "layers" in parts:
            parts.insert(4, cell[int(parts[3])])
        state[name] = held[".".join(parts)]
    made.load_state_dict(state)
    return made


def small_supernet() -> Supernet:
    return make_supernet(NB201, TASK, 4, 1, 0, 0).to(torch.float64)


@pytest.mark.thorough
@settings(max_examples=25, deadline=None)
@given(some.integers(0, len(NB201) - 1))
def test_a_path_is_the_network_with_its_weights(index: int) -> None:
    net = small_supernet()
    made = alone(net, index)
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    net.take(made.cells[0].operations)
    torch.testing.assert_close(net(x), made(x))
    net(x).square().sum().backward()
    cell = made.cells[0].operations
    live = live_edges(cell, NB201.n_nodes)
    for edge, choices in enumerate(net.cells[0].layers):
        for name, layer in choices.items():
            moved = layer.op["1"].weight.grad is not None
            assert moved == (live[edge] and cell[edge] == name)


@settings(max_examples=10, deadline=None)
@given(some.integers(0, len(NB201) - 1))
def test_a_score_is_the_accuracy_after_statistics_are_taken_anew(index: int) -> None:
    net = small_supernet()
    made = alone(net, index)
    known = [torch.randn(6, 3, 8, 8, dtype=torch.float64) for _ in range(3)]
    x, y = torch.randn(40, 3, 8, 8, dtype=torch.float64), torch.arange(40) % 3
    norms = [m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    means = {norm: [] for norm in norms}
    for norm in norms:
        norm.register_forward_pre_hook(
            lambda m, i: means[m].append(i[0]) if made.training else None
        )
    with torch.no_grad():
        for batch in known:
            made(batch)
    for norm, seen in means.items():
        if seen:
            parts = [s.transpose(0, 1).flatten(1) for s in seen]
            norm.running_mean.copy_(torch.stack([p.mean(1) for p in parts]).mean(0))
            norm.running_var.copy_(torch.stack([p.var(1) for p in parts]).mean(0))
    made.eval()
    with torch.no_grad():
        right = (made(x).argmax(1) == y).double().mean()
    net.train()
    net.take(NB201.cell(NB201.architecture(77).spec))
    net(10 * x)  # statistics of another path, which must not matter
    cell = made.cells[0].operations
    assert accuracy_of(net, cell, known, [x[:30], x[30:]], y) == pytest.approx(
        100 * float(right)
    )


def test_uniform_paths_have_every_operation_equally_often() -> None:
    paths = Paths(NB201, "uniform")
    drawn = [paths.at((0, "x"), step) for step in range(2000)]
    for edge in range(6):
        for operation in NB201.operations:
            share = np.mean([path[edge] == operation for path in drawn])
            assert share == pytest.approx(0.2, abs=0.04)
    assert drawn[7] == paths.at((0, "x"), 7) != paths.at((1, "x"), 7)


@settings(max_examples=20, deadline=None)
@given(some.integers(0, 10**6))
def test_fair_paths_have_every_operation_once_in_turn(block: int) -> None:
    paths = Paths(NB201, "fair")
    assert paths.together == 5
    drawn = [paths.at((3,), 5 * block + turn) for turn in range(5)]
    for edge in range(6):
        assert {path[edge] for path in drawn} == set(NB201.operations)


@pytest.mark.thorough
def test_guided_paths_are_the_best_or_weighted_by_rank() -> None:
    values = {
        i: float(v) for i, v in enumerate(np.random.default_rng(0).permutation(27))
    }
    values[3] = float("nan")
    guide = Guide("made up", values)
    cells = {TOY.cell(TOY.architecture(i).spec): i for i in range(27)}
    best = sorted((i for i in values if i != 3), key=lambda i: -values[i])
    top = Paths(TOY, "top", 0.25, guide)
    seen = [cells[top.at((0,), step)] for step in range(500)]
    assert set(seen) == set(best[:6])  # a quarter of 26
    weighted = Paths(TOY, "weighted", guide=guide)
    seen = [cells[weighted.at((0,), step)] for step in range(20_000)]
    counts = np.bincount(seen, minlength=27)
    expected = {i: 20_000 * 2 * (26 - r) / (26 * 27) for r, i in enumerate(best)}
    assert counts[3] == 0
    for index, count in expected.items():
        assert counts[index] == pytest.approx(count, abs=5 * np.sqrt(count) + 5)
    with pytest.raises(zcbench.errors.DataError, match="No architecture has a score"):
        Paths(TOY, "top", 0.25, Guide("none", {0: float("nan")}))


def some_split(n: int = 40, side: int = 8) -> Split:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(n)
    images = Images("made up", "d", pixels, np.arange(n) % 4)
    task = TOY.tasks["toy"]
    setting = SimpleNamespace(image_size=side, validation=0.25)
    return Split.of(images, task, setting, (0, "x", 1), "cpu")


def test_every_training_image_comes_once_an_epoch_and_no_validation_image() -> None:
    split = some_split()
    assert split.n_train == 30
    first = [split.batch(number, 10, augment=False) for number in range(3)]
    again = [split.batch(number, 10, augment=False) for number in range(3, 6)]
    kept = {int(p) for p in split.pixels[30:, 0, 0, 0]}

    def marks(batches: list[Any]) -> list[int]:
        x = torch.cat([batch[0] for batch in batches])
        return (255 * (x[:, 0, 0, 0] * 0.25 + 0.5)).round().int().tolist()

    assert sorted(marks(first)) == sorted(marks(again))
    assert marks(first) != marks(again)
    assert len(set(marks(first))) == 30
    assert not kept & set(marks(first))
    for x, y in first:
        assert (torch.tensor(marks([(x, y)])) % 4).tolist() == y.tolist()
    x, y = split.validation(7)
    assert ([len(part) for part in x], len(y)) == ([7, 3], 10)
    assert [len(part) for part in split.known(25, 10)] == [10, 10, 5]


def test_images_are_reduced_by_the_mean_of_their_pixels() -> None:
    large, small = some_split(), some_split(side=4)
    mean = large.pixels.double().reshape(40, 3, 4, 2, 4, 2).mean((3, 5))
    assert (small.pixels - mean).abs().max() <= 0.5


def test_augmented_images_are_shifted_and_mirrored_as_a_loop_would() -> None:
    split = some_split()
    x, _ = split.batch(2, 10, augment=False)
    moved, _ = split.batch(2, 10, augment=True)
    random = Random(0, "x", 1, "augment", 2)
    shifts, turned = random.classes(20, 3).reshape(2, 10), random.uniform(10) < 0.5
    for i in range(10):
        row, left = shifts[:, i]
        image = pad(x[i], (1, 1, 1, 1))[:, row : row + 8, left : left + 8]
        torch.testing.assert_close(moved[i], image.flip(2) if turned[i] else image)


@pytest.mark.thorough
def test_built_in_classes_can_be_told_apart() -> None:
    images = labelled_images("builtin", TOY.tasks["toy"])
    assert np.bincount(images.labels).tolist() == [256] * 4
    x = images.pixels.astype(float)
    edges = np.abs(np.diff(x, axis=3)).mean((1, 2, 3))
    means = [edges[images.labels == label].mean() for label in range(4)]
    assert max(means) > 1.3 * min(means)
    again = labelled_images("builtin", TOY.tasks["toy"])
    assert again.digest == images.digest
    assert (again.pixels == images.pixels).all()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("oneshot") / "run"
    result = invoke(*WORDS, "--out", path, "--repeats", 2)
    assert result.exit_code == 0, result.output
    return path


def test_scores_stand_beside_the_baselines(undisturbed: Path) -> None:
    table = zcbench.load_run(undisturbed)
    baselines = [proxy.name for proxy in PROXIES.select(["baselines"])]
    assert table.attrs["proxies"] == [*baselines, "oneshot"]
    assert len(table) == 12
    assert table["oneshot"].between(0, 100).all()
    found = scores(undisturbed)
    first, second = ([v for (_, r), v in found.items() if r == n] for n in (0, 1))
    assert first != second  # a supernet for each repeat
    manifest = table.attrs["manifest"]
    about = manifest["oneshot"]["oneshot"]["toy"]
    assert set(about["seconds"]) == {"0", "1"}
    assert about["setting"]["steps"] == 30
    assert manifest["traits"]["oneshot"]["costly"]
    again = invoke(*WORDS, "--out", undisturbed)
    assert (again.exit_code, "nothing was missing" in again.output) == (0, True)
    assert scores(undisturbed) == found


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", ["training", "scoring"])
def test_killed_at_any_moment_it_comes_to_the_same_numbers(
    undisturbed: Path, tmp_path: Path, moment: str
) -> None:
    run = tmp_path / "run"
    words = [*WORDS, "--out", str(run), "--repeats", "2", "--checkpoint-every", "0"]
    killed = 0
    for attempt in range(2):
        child = os.fork()
        if child == 0:
            try:
                invoke(*words)
            finally:
                os._exit(0)
        ended = (0, 0)
        while not ended[0] and not _is_at(run, moment, attempt):
            time.sleep(0.002)
            ended = os.waitpid(child, os.WNOHANG)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            ended = os.waitpid(child, 0)
        killed += os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL
    assert killed
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    assert scores(run) == scores(undisturbed)


def _is_at(run: Path, moment: str, attempt: int) -> bool:
    """Whether a run is where it is to be killed."""
    if moment == "training":
        file = run / "oneshot" / f"oneshot-toy-{attempt}.pt"
        return _steps(file) > 5
    try:
        lines = (run / "scores.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return False
    return sum("oneshot" in line for line in lines) > 1 + 6 * attempt


def _steps(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    return int(state["progress"]["step"])


@pytest.mark.thorough
def test_time_is_up_and_it_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopped = invoke(*WORDS, "--out", run, "--repeats", 2, "--time-limit", 1e-6)
    assert stopped.exit_code == 130
    assert "Go on with the same command." in stopped.output
    assert invoke(*WORDS, "--out", run, "--repeats", 2).exit_code == 0
    assert scores(run) == scores(undisturbed)


@pytest.mark.thorough
def test_a_run_goes_on_beside_it(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        invoke(
            "run", "--space", "toy", "--n", 4, "--out", run, "--proxies", "plain"
        ).exit_code
        == 0
    )
    assert invoke("oneshot", *SHORT, "--out", run).exit_code == 0
    before = scores(run)
    assert len(before) == 4
    words = (
        "--space",
        "toy",
        "--n",
        6,
        "--out",
        run,
        "--proxies",
        "snip",
        "--truth",
        "none",
    )
    assert invoke("run", *words).exit_code == 0
    assert invoke("oneshot", *SHORT, "--out", run).exit_code == 0
    after = scores(run)
    assert (len(after), {k: after[k] for k in before}) == (6, before)
    # The same supernet as in a run of its own.
    assert after == {k: v for k, v in scores(undisturbed).items() if k[1] == 0}
    more = invoke(
        "oneshot", *SHORT, "--out", run, "--column", "fair", "--sampling", "fair"
    )
    assert more.exit_code == 0, more.output
    guided = ("--column", "guided", "--sampling", "top", "--by", "snip")
    more = invoke("oneshot", *SHORT, "--out", run, *guided)
    assert more.exit_code == 0, more.output
    assert {"plain", "snip", "oneshot", "fair", "guided"} < set(
        zcbench.load_run(run).attrs["proxies"]
    )
    setting = zcbench.load_run(run).attrs["manifest"]["oneshot"]["guided"]["toy"][
        "setting"
    ]
    assert (setting["guide"], setting["share"]) == ("snip on toy", 0.25)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--steps", 31), 2, "steps is 30 there, 31 here"),
        (("--n", 7, "--seed", 1), 2, "seed is 0 there, 1 here"),
        (("--column", "snip"), 2, "cannot be called 'snip'"),
        (("--column", "a b"), 2, "cannot be called 'a b'"),
        (("--dataset", "toi"), 2, "Unknown dataset of toy 'toi'"),
        (("--by", "params"), 2, "--by goes with"),
        (("--column", "c", "--sampling", "top", "--by", "zen"), 2, "no scores of zen"),
        (("--column", "c", "--sampling", "fair", "--steps", 31), 2, "multiple of 3"),
        (("--column", "c", "--train-batch", 4096), 2, "a batch has 4,096"),
        (("--column", "c", "--images", "gaussian"), 3, "labels of gaussian are random"),
        (("--column", "c", "--images", "nowhere.npz"), 3, "There is no 'nowhere.npz'"),
        (("--column", "c", "--rate", 1e30), 1, "The loss is not finite at step"),
    ],
)
def test_what_cannot_be_done_is_said(
    undisturbed: Path, words: tuple[object, ...], code: int, said: str
) -> None:
    before = scores(undisturbed)
    result = invoke(*WORDS, "--out", undisturbed, *words)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert "Traceback" not in result.output
    assert scores(undisturbed) == before


def test_other_spaces_have_no_supernet() -> None:
    result = invoke(
        "oneshot", "--space", "fcnet", "--dataset", "protein_structure", "--n", 2
    )
    assert (result.exit_code, "no supernet of fcnet" in result.output) == (2, True)
    result = invoke("oneshot", "--space", "nb201", "--n", 2)
    assert (result.exit_code, "of one dataset" in result.output) == (2, True)


@pytest.mark.thorough
def test_a_damaged_checkpoint_is_named(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert invoke(*WORDS, "--out", run, "--time-limit", 1e-6).exit_code == 130
    checkpoint = run / "oneshot" / "oneshot-toy-0.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"no checkpoint")
    result = invoke(*WORDS, "--out", run)
    assert (result.exit_code, "oneshot-toy-0.pt cannot be read" in result.output) == (
        3,
        True,
    )
    checkpoint.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert invoke(*WORDS, "--out", run).exit_code == 3
    assert not (tmp_path / "ran").exists()
    checkpoint.unlink()
    os.mkfifo(checkpoint)  # nobody writes
    assert invoke(*WORDS, "--out", run).exit_code == 3
    checkpoint.unlink()
    other = undisturbed / "oneshot" / "oneshot-toy-1.pt"
    checkpoint.write_bytes(other.read_bytes())
    result = invoke(*WORDS, "--out", run)
    assert (result.exit_code, "of another training" in result.output) == (3, True)


def test_a_network_that_fails_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    faults = {1: ValueError("planted"), 2: MemoryError(), 3: float("nan")}

    def planted(*given: Any) -> float:
        fault = faults.get(next(calls), 50.0)
        if isinstance(fault, Exception):
            raise fault
        return fault

    monkeypatch.setattr(column, "accuracy_of", planted)
    run = tmp_path / "run"
    result = invoke(*WORDS, "--out", run)
    assert result.exit_code == 0, result.output
    lines = [
        json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()
    ]
    status = [line.get("status", {}).get("oneshot", "ok") for line in lines]
    assert status == [*("ok", "error", "oom", "nan", "ok", "ok")]
    assert lines[1]["messages"]["oneshot"] == "ValueError: planted"
    assert "1 error, 1 nan, 1 oom" in " ".join(result.output.split())


def test_it_is_marked_and_takes_no_part_in_the_verdict(undisturbed: Path) -> None:
    run = zcbench.load_run(undisturbed)
    report = make_report([run], sections=["all"])
    row = report.table.set_index("proxy").loc["oneshot"]
    assert (row["trained"], row["baseline"], row["n"]) == (True, False, 6)
    seconds = run.attrs["manifest"]["oneshot"]["oneshot"]["toy"]["seconds"].values()
    alone = np.mean([s["proxies"]["oneshot"] for s in run["seconds"]])
    assert row["seconds_per_arch"] == pytest.approx(alone + np.mean(list(seconds)) / 6)
    assert "oneshot" not in set(report.verdict.table["proxy"])
    text = render(report)
    assert "oneshot ‡" in text
    assert "no zero-cost proxy" in " ".join(text.split())


def test_a_search_pays_for_its_training_once(undisturbed: Path) -> None:
    (study,) = studies([zcbench.load_run(undisturbed)])
    hours = np.full(6, 2.0)
    study = replace(study, train_seconds=3600 * hours)
    pool = search_pool(study)
    scored = pool.proxies["oneshot"]
    assert scored.once == pytest.approx(study.trained["oneshot"] / 3600)
    setting = Search(trials=3, evaluations=6, warmup=6)
    trace = simulate(pool, Variant("random", "warmup", ("oneshot",)), setting)
    paid = scored.once + scored.hours.sum() + 2 * np.arange(1, 7)
    np.testing.assert_allclose(trace.hours, np.tile(paid, (3, 1)))
