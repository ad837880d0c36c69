"""TransNAS-Bench-101: strings, networks against literal ones, sizes, tasks, truth."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from levels import few
from torch import Tensor, nn

import zcbench
from zcbench.cli import main
from zcbench.conformance.spaces import check_space
from zcbench.engine.evaluator import StackEvaluator, can_stack
from zcbench.errors import DataError
from zcbench.evaluate import check_batch, evaluate
from zcbench.evidence.minibatch_pass import is_rounding
from zcbench.minibatch import batch_digest, open_source
from zcbench.networks import transnas as networks
from zcbench.networks.transnas import tiles
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES
from zcbench.seeding import repeat_seed
from zcbench.spaces import load_space
from zcbench.spaces.transnas import TASKS, TransNASMacro, TransNASMicro
from zcbench.tasks import load_task, with_input_size, with_tasks
from zcbench.types import Task

pytestmark = pytest.mark.usefixtures("few_draws")

MICRO, MACRO = TransNASMicro(), TransNASMacro()
CELLS = ["64-41414-1_02_333", "64-41414-3_10_021", "64-41414-0_20_103"]
SKELETONS = ["64-1234-basic", "64-444311-basic", "64-11114-basic"]
WHOLE = ("class_scene", "class_object", "room_layout", "jigsaw")


def layers_of(spec: str) -> list[tuple[int, int, int]]:
    """(channels in, channels out, stride) of each cell or block."""
    found, c = [], 64
    for digit in spec.split("-")[1]:
        out = 2 * c if digit in "24" else c
        found += [(c, out, 2 if digit in "34" else 1), (out, out, 1)]
        c = out
    return found


def literal_params(spec: str, task: str) -> int:
    """Counted by hand from the string, as the paper describes the networks."""
    total = 3 * 32 * 9 + 2 * 32 + 32 * 64 * 9 + 2 * 64
    cell = spec.split("-")[2]
    for c, out, stride in layers_of(spec):
        changes = c != out or stride == 2
        if cell == "basic":
            total += c * out * 9 + out * out * 9 + 4 * out
            total += (c * out + 2 * out) if changes else 0
            continue
        for edge, digit in enumerate(cell.replace("_", "")):
            source = c if edge in (0, 1, 3) else out
            reduces = digit == "1" and changes and edge in (0, 1, 3)
            kernel = {"2": 1, "3": 9}.get(digit, 1 if reduces else 0)
            total += (source * out * kernel + 2 * out) if kernel else 0
    features = layers_of(spec)[-1][1] * (9 if task == "jigsaw" else 1)
    return total + (features + 1) * TASKS[task].n_classes


class Literal:
    """A network in plain functions of a state dict, BatchNorm in train mode."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        pad = weight.shape[2] // 2
        return nn.functional.conv2d(x, weight, stride=stride, padding=pad)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        var = (x - mean).square().mean((0, 2, 3), keepdim=True)
        scale, shift = (self.state[f"{name}.{n}"] for n in ("weight", "bias"))
        unit = (x - mean) / (var + 1e-5).sqrt()
        return unit * scale[:, None, None] + shift[:, None, None]

    def conv_bn(self, x: Tensor, name: str, stride: int) -> Tensor:
        return self.norm(self.conv(x.relu(), f"{name}.op.1", stride), f"{name}.op.2")

    def reduce(self, x: Tensor, name: str, stride: int) -> Tensor:
        moved = torch.zeros_like(x)
        moved[:, :, :-1, :-1] = x[:, :, 1:, 1:]
        first = self.conv(x.relu(), f"{name}.convs.0", stride)
        second = self.conv(moved.relu(), f"{name}.convs.1", stride)
        return self.norm(torch.cat([first, second], 1), f"{name}.bn")

    def cell(self, x: Tensor, name: str, digits: str, out: int, stride: int) -> Tensor:
        shape = self.conv(x[:, :1], "one", stride).expand(-1, out, -1, -1) * 0
        nodes = [x]
        edges = iter(enumerate(digits))
        for target in (1, 2, 3):
            total = shape
            for source in range(target):
                edge, digit = next(edges)
                at, value = f"{name}.layers.{edge}", nodes[source]
                step = 1 if source else stride
                changes = step == 2 or value.shape[1] != out
                if digit in "23":
                    total = total + self.conv_bn(value, at, step)
                elif digit == "1":
                    total = total + (self.reduce(value, at, step) if changes else value)
            nodes.append(total)
        return nodes[-1]

    def block(self, x: Tensor, name: str, out: int, stride: int) -> Tensor:
        inner = self.conv_bn(x, f"{name}.conv_a", stride)
        inner = self.conv_bn(inner, f"{name}.conv_b", 1)
        if stride == 2 or x.shape[1] != out:
            x = self.norm(
                self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1"
            )
        return x + inner

    def features(self, spec: str, x: Tensor) -> Tensor:
        self.state["one.weight"] = torch.ones(1, 1, 1, 1, dtype=x.dtype)
        x = self.norm(self.conv(x, "stem.0", 2), "stem.1")
        x = self.norm(self.conv(x.relu(), "stem.3", 2), "stem.4")
        digits = spec.split("-")[2].replace("_", "")
        for number, (_, out, stride) in enumerate(layers_of(spec)):
            name = f"layers.{number // 2}.{number % 2}"
            if digits == "basic":
                x = self.block(x, name, out, stride)
            else:
                x = self.cell(x, name, digits, out, stride)
        return x.mean((2, 3))

    def outputs(self, spec: str, task: str, x: Tensor) -> Tensor:
        if task == "jigsaw":
            h, w = x.shape[2] // 3, x.shape[3] // 3
            th, tw = x.shape[2] // 4, x.shape[3] // 4
            parts = []
            for i in range(3):
                for j in range(3):
                    field = x[:, :, i * h : (i + 1) * h, j * w : (j + 1) * w]
                    top, left = (h - th) // 2, (w - tw) // 2
                    parts.append(field[:, :, top : top + th, left : left + tw])
            features = torch.cat([self.features(spec, part) for part in parts], 1)
        else:
            features = self.features(spec, x)
        if TASKS[task].loss == "none":
            return features
        return features @ self.state["head.weight"].T + self.state["head.bias"]


def space_of(spec: str):
    return MACRO if spec.endswith("basic") else MICRO


# --- strings ----------------------------------------------------------------------


def test_strings_of_cells_in_order() -> None:
    specs = [MICRO.architecture(index).spec for index in range(len(MICRO))]
    assert specs == sorted(specs)
    assert (len(specs), specs[0]) == (4_096, "64-41414-0_00_000")
    assert specs[0b01_00_10_11_11_11] == "64-41414-1_02_333"
    assert MICRO.parse(specs[1234]).index == 1234


def test_skeletons_are_those_that_shrink_and_grow_within_bounds() -> None:
    specs = [MACRO.architecture(index).spec for index in range(len(MACRO))]
    assert specs == sorted(set(specs))
    assert len(specs) == 3_256
    lengths = [len(spec.split("-")[1]) for spec in specs]
    assert [lengths.count(n) for n in (4, 5, 6)] == [210, 750, 2_296]
    assert "64-1111-basic" not in specs  # neither
    assert "64-4444-basic" not in specs  # doubles four times
    assert [MACRO.parse(spec).index for spec in specs] == list(range(len(specs)))


@pytest.mark.parametrize(
    ("space", "spec", "hint"),
    [
        (MICRO, "64-41414-4_00_000", "One has six digits 0 to 3, as 64-41414-1_02"),
        (MICRO, "64-41414-0_00_00", "One has six digits"),
        (MICRO, "64-41414-0_00_000\n", "One has six digits"),
        (MACRO, "64-1111-basic", "One has four to six digits 1 to 4, as 64-12341-b"),
        (MACRO, "64-41414-0_00_000", "One has four to six digits"),
    ],
)
def test_foreign_strings(space, spec: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        space.parse(spec)
    assert caught.value.what == f"{spec!r} is not an architecture of {space.name}."
    assert caught.value.hint.startswith(hint)


def test_strings_and_accuracies_of_the_tables(shared_data: Path) -> None:
    for space in (MICRO, MACRO):
        path = shared_data / f"{space.name}.csv"
        with path.open() as stream:
            rows = list(csv.DictReader(stream))
        specs = [space.architecture(index).spec for index in range(len(space))]
        assert [row["arch"] for row in rows] == specs
        for name, task in TASKS.items():
            table = zcbench.load_truth(space.name, name, str(path))
            assert table.attrs["targets"] == [task.metric]
            assert table[task.metric].tolist() == [float(row[name]) for row in rows]
            assert table.attrs.get("part", "") == task.part


def test_function_classes() -> None:
    """Dead operations do not matter; what a changing cell makes of identities does."""

    def same(*cells: str) -> bool:
        archs = [MICRO.parse(f"64-41414-{cell}") for cell in cells]
        return len({MICRO.function_class(arch) for arch in archs}) == 1

    assert same("0_00_202", "0_00_212", "0_00_222")  # nodes 1 and 2 have no input
    assert same("3_00_010", "0_30_001", "0_00_300")
    assert not same("3_00_010", "3_00_000")
    # An identity in the middle of a chain does nothing; one from the input reduces.
    assert same("1_01_001", "1_00_010")
    assert not same("1_02_001", "2_00_010")


# --- networks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "tasks"),
    few([(MICRO, ("class_scene", "room_layout")), (MACRO, ("class_object", "normal"))]),
)
def test_conformance(
    space,
    tasks: tuple[str, ...],
    quick_conformance: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On small images, with an eighth of the channels; other heads are tested below."""
    monkeypatch.setattr(networks, "BASE", 8)
    small = with_input_size(space, 16)
    small.tasks = {name: small.tasks[name] for name in tasks}
    assert [f for f in check_space(small) if not f.ok] == []


@pytest.mark.parametrize(
    ("spec", "task"),
    [
        *few((spec, "class_scene") for spec in (SKELETONS[0], *CELLS, *SKELETONS[1:])),
        (SKELETONS[1], "normal"),
        *(
            pytest.param(spec, task, marks=pytest.mark.thorough)
            for spec in (CELLS[0], SKELETONS[1])
            for task in [*TASKS][1:]
            if (spec, task) != (SKELETONS[1], "normal")
        ),
    ],
)
def test_outputs_and_gradients_equal_the_literal_network(spec: str, task: str) -> None:
    space = space_of(spec)
    network = space.build(space.parse(spec), task, seed=1).double()
    state = {n: t.detach().clone() for n, t in network.state_dict().items()}
    random = torch.Generator().manual_seed(5)
    size = 70 if task == "jigsaw" else 35
    x = torch.randn(3, 3, size, size, generator=random, dtype=torch.float64)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    ours = network(inputs[0])
    theirs = Literal(state).outputs(spec, task, inputs[1])
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
    slopes = torch.randn(ours.shape, generator=random, dtype=torch.float64)
    grads = [
        torch.autograd.grad((outputs * slopes).sum(), x)[0]
        for outputs, x in zip((ours, theirs), inputs, strict=True)
    ]
    scale = float(grads[1].abs().max())
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-7 * scale)


@pytest.mark.parametrize("task", WHOLE)
@pytest.mark.parametrize("spec", few([*SKELETONS, *CELLS], 3))
def test_params_equal_the_count_by_hand(spec: str, task: str) -> None:
    space = space_of(spec)
    network = space.build(space.parse(spec), task)
    found = sum(p.numel() for p in network.parameters())
    assert found == literal_params(spec, task)


@pytest.mark.parametrize(("space", "known"), [(MICRO, 711), (MACRO, 662)])
def test_params_equal_the_table(space, known: int, shared_data: Path) -> None:
    with (shared_data / f"{space.name}.csv").open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["params_class_scene"]]
    assert len(rows) == known
    for row in rows:
        for task in WHOLE:
            assert literal_params(row["arch"], task) == int(row[f"params_{task}"])
    for row in rows[:: known // 6]:  # and that of whole networks
        with torch.device("meta"):
            network = space._network(row["arch"], TASKS["jigsaw"])
        found = sum(p.numel() for p in network.parameters())
        assert found == int(row["params_jigsaw"])


@pytest.mark.parametrize("spec", [CELLS[2], SKELETONS[0]])
def test_the_promise_about_linearity_holds(spec: str) -> None:
    """grasp by the short way equals grasp by a backward through the backward."""
    space = space_of(spec)
    network = space.build(space.parse(spec), "class_scene", seed=1)
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    batch = zcbench.Batch(x, torch.arange(4))
    assert network.linear_outside_layers
    short = zcbench.score(network, batch, ["grasp"])["grasp"].value
    network.linear_outside_layers, network.plain_layers = False, True
    long = zcbench.score(network, batch, ["grasp"])["grasp"].value
    assert short == pytest.approx(long, rel=1e-8)


def test_tiles_of_256_are_64_of_85() -> None:
    x = torch.arange(256.0 * 256).reshape(1, 1, 256, 256)
    found = tiles(x)
    assert {tuple(tile.shape) for tile in found} == {(1, 1, 64, 64)}
    corners = [int(tile[0, 0, 0, 0]) for tile in found]
    starts = (10, 95, 180)
    assert corners == [256 * row + column for row in starts for column in starts]


# --- tasks ------------------------------------------------------------------------


def test_room_layout_is_a_regression_of_nine_numbers() -> None:
    task = with_input_size(MICRO, 32).tasks["room_layout"]
    batch = open_source("auto", task).batch(8, seed=0)
    assert (batch.y.shape, batch.y.dtype) == ((8, 9), torch.float32)
    assert batch_digest(batch) != batch_digest(
        open_source("builtin", task).batch(8, seed=0, repeat=1)
    )
    check_batch(batch)
    network = MICRO.build(MICRO.parse(CELLS[2]), "room_layout", seed=1).double()
    scores = zcbench.score(network, batch, ["grad_norm", "snip", "epe_nas", "jacov"])
    x, y = batch.x.double(), batch.y.double()
    out = network(x)
    errors = [(out[i, k] - y[i, k]) ** 2 for i in range(8) for k in range(9)]
    loss = torch.stack(errors).sum() / 72
    weights = [p for p in network.parameters() if p.dim() > 1]
    grads = torch.autograd.grad(loss, weights)
    weights = [w.detach() for w in weights]
    norm = sum(float(g.norm()) for g in grads)
    assert scores["grad_norm"].value == pytest.approx(norm, rel=1e-9)
    snip = sum(float((w * g).abs().sum()) for w, g in zip(weights, grads, strict=True))
    assert scores["snip"].value == pytest.approx(snip, rel=1e-9)
    wrong = zcbench.Batch(batch.x, batch.y[:, :4], "mse")
    message = zcbench.score(network, wrong, ["snip"])["snip"].message
    assert message == "a regression has 4 outputs, the network 9"


def test_what_a_part_of_a_network_has_no_score_for() -> None:
    space = with_input_size(MICRO, 64)
    network = space.build(MICRO.parse(CELLS[2]), "normal")
    batch = open_source("builtin", space.tasks["normal"]).batch(4, seed=0)
    proxies = "suite,zico,gradsign,ntk_cond,ntk_trace,knas,swap,meco,wrcor"
    scores = zcbench.score(network, batch, proxies, precision="float32")
    reasons: dict[str, set[str]] = {}
    for name, score in scores.items():
        reasons.setdefault(score.message, set()).add(name)
    defined = reasons.pop("")
    assert {"params", "flops", "nwot", "synflow", "zen", "swap", "meco"} <= defined
    loss = {"plain", "snip", "grad_norm", "fisher", "grasp", "zico"}
    loss |= {"wrcor", "knas"}
    assert reasons == {
        "a part of a network has no loss": loss,
        "a part of a network has no outputs": {
            *("gradsign", "ntk_cond", "ntk_trace"),
        },
        "the gradient of the summed outputs with respect to an image is constant, or "
        "rounding alone": {"jacov", "epe_nas"},
    }
    assert {s.status for s in scores.values()} == {"ok", "undefined"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("spec", "precision"), [(CELLS[2], "float32"), (SKELETONS[0], "float64")]
)
def test_gradients_that_are_rounding_are_no_scores(
    spec: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last maps are sums of BatchNorms: their mean over a minibatch is constant."""
    monkeypatch.setattr(networks, "BASE", 16)
    space = with_input_size(space_of(spec), 64)
    network = space.build(space.parse(spec), "class_scene").double()
    batch = open_source("builtin", space.tasks["class_scene"]).batch(4, seed=0)
    batch = zcbench.Batch(batch.x, torch.arange(4) % 2)  # two of a class, for epe_nas
    with torch.no_grad():
        total = network(batch.x.double()).sum()
        other = network(-2 * batch.x.double().flip(0, 2) + 1).sum()
    assert float(total) == pytest.approx(float(other), abs=1e-9)
    names = ["jacov", "ntk_trace", "ntk_cond", "knas", "gradsign", "dextr"]
    scores = zcbench.score(network, batch, names, precision=precision)
    assert {s.status for s in scores.values()} == {"undefined"}
    # A ReLU after the last maps, and the sum depends on the images again.
    network.global_pooling = nn.Sequential(nn.ReLU(), network.global_pooling)
    scores = zcbench.score(network, batch, names, precision=precision)
    assert {s.status for s in scores.values()} == {"ok"}


def test_rounding_is_far_below_gradients() -> None:
    x = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    outputs = x.flatten(1) @ torch.eye(48)[:, :5]
    jacobian = torch.zeros(8, 48)
    jacobian[:, :5] = 1
    assert not is_rounding(jacobian, x, outputs)
    assert is_rounding(1e-6 * jacobian, x, outputs)


def test_other_tasks_on_the_cells() -> None:
    for name in ("svhn", "ninapro", "scifar100"):
        given = load_task(name, "transnas_micro")
        assert given.space == "transnas_micro"
        assert load_task(name).space == "nb201"
        space = with_tasks(load_space("transnas_micro"), [given])
        network = space.build(space.parse(CELLS[1]), name)
        shape = given.task.input_shape
        assert network(torch.randn(2, *shape)).shape == (2, given.task.n_classes)
    listed = json.loads(CliRunner().invoke(main, ["list", "tasks", "--json"]).stdout)
    assert {row["space"] for row in listed} == {"nb201", "transnas_micro"}


def test_a_run_names_the_part_and_the_size(tmp_path: Path) -> None:
    archs = [MICRO.architecture(index).spec for index in range(100, 106)]
    columns = {"normal": np.linspace(0.2, 0.5, 6), "room_layout": -np.arange(6.0)}
    lines = [
        ",".join([spec, *(str(values[i]) for values in columns.values())])
        for i, spec in enumerate(archs)
    ]
    truth = tmp_path / "t.csv"
    truth.write_text("\n".join(["arch,normal,room_layout", *lines]) + "\n")
    words = ["run", "--space", "transnas_micro", "--datasets", "normal,room_layout"]
    words += ["--input-size", "16", "--batch-size", "4", "--proxies", "params,snip"]
    words += ["--truth", str(truth), "--archs", str(truth), "--workers", "1"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    assert "transnas_micro · normal (encoder alone) · ssim" in result.stdout
    assert "transnas_micro · room_layout · negative_loss" in result.stdout
    assert "minibatch builtin at 16×16" in result.stdout
    assert "snip: undefined: a part of a network has no loss (6" in result.stdout


def test_labels_do_not_matter_where_there_is_no_loss(tmp_path: Path) -> None:
    task = Task("normal", (3, 8, 8), 0, "none")
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "any.npz", images=images, labels=np.arange(6))
    batch = open_source(str(tmp_path / "any.npz"), task).batch(4, seed=0)
    assert (batch.loss, batch.x.shape) == ("none", (4, 3, 8, 8))


# --- stacks -----------------------------------------------------------------------


@pytest.mark.thorough
def test_a_stack_has_the_scores_of_each_network() -> None:
    proxies = "suite,n_layers"
    plan = make_plan(PROXIES.select(proxies))
    space = with_input_size(MICRO, 24)
    cells = ("2_10_021", "0_23_102", "1_11_111", "0_00_000", "1_20_012")
    archs = [space.parse(f"64-41414-{cell}") for cell in cells]
    x = torch.randn(4, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    batch = zcbench.Batch(x.double(), torch.arange(4) % 2)
    options = {"seed": 2, "repeat": 1}
    found = StackEvaluator(
        space, "class_scene", batch, plan, dtype=torch.float64, **options
    )(archs)
    for arch, mine in zip(archs, found, strict=True):
        network = space.build(arch, "class_scene", **options).double()
        theirs = evaluate(network, batch, plan, seed=repeat_seed(2, 1))
        for name, score in theirs.scores.items():
            other = mine.scores[name]
            assert (other.status, other.message) == (score.status, score.message), name
            if score.value is not None:
                expected = pytest.approx(score.value, rel=1e-8, abs=1e-10)
                assert other.value == expected, (arch.spec, name)


def test_tasks_that_cannot_be_stacked_are_scored_one_by_one(tmp_path: Path) -> None:
    space = load_space("transnas_micro")
    for name in TASKS:
        able = name in ("class_scene", "class_object")
        assert can_stack(space, name, "float32") == able
    words = ["run", "--space", "transnas_micro", "--datasets", "class_scene,jigsaw"]
    cells = ("2_00_020", "0_00_200", "1_00_010")
    listed = tmp_path / "archs.txt"
    listed.write_text("".join(f"64-41414-{cell}\n" for cell in cells))
    words += ["--archs", str(listed), "--input-size", "32", "--batch-size", "4"]
    words += ["--proxies", "params,snip", "--stack", "2", "--workers", "1"]
    words += ["--truth", "none"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    run = zcbench.load_run(tmp_path / "run")
    assert len(run) == 6
    assert not run["status"].map(len).any()
