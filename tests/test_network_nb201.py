"""zcbench's NAS-Bench-201 network against the literal one in `networks.py`."""

import itertools
import re

import numpy as np
import pytest
import torch
from levels import few
from networks import OPERATIONS, TinyNetwork, operations_of, spec_of
from reference import reference
from torch import nn

from zcbench import Batch, load_space
from zcbench.evaluate import evaluate
from zcbench.networks.cell_graph import edges_of, reachable
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

NONE, SKIP, CONV1, CONV3, POOL = OPERATIONS
SPACE = load_space("nb201")
FIXED = {"cifar10": 73_306, "cifar100": 79_156, "ImageNet16-120": 80_456}
PER_OPERATION = {NONE: 0, SKIP: 0, CONV1: 28_000, CONV3: 243_040, POOL: 0}

CELLS = {
    "all none": spec_of(*[NONE] * 6),
    "all skip": spec_of(*[SKIP] * 6),
    "all 1x1": spec_of(*[CONV1] * 6),
    "all 3x3": spec_of(*[CONV3] * 6),
    "all pool": spec_of(*[POOL] * 6),
    "no path, dead operations": spec_of(CONV3, CONV1, CONV3, NONE, NONE, NONE),
    "dead node 2": spec_of(CONV1, CONV3, CONV1, SKIP, CONV3, NONE),
    "unreachable node 1": spec_of(NONE, CONV1, CONV3, POOL, CONV1, CONV3),
    "unreachable nodes": spec_of(NONE, NONE, POOL, CONV1, CONV1, CONV3),
}
CELLS |= {
    f"index {index}": SPACE.architecture(index).spec
    for index in np.random.default_rng(201).integers(0, 15_625, 6).tolist()
}


def pair(spec: str, task: str, **seeds: int) -> tuple[nn.Module, nn.Module]:
    """zcbench's network and the literal one with the same state, both float64."""
    ours = SPACE.build(SPACE.parse(spec), task, **seeds)
    literal = TinyNetwork(spec, SPACE.tasks[task].n_classes)
    literal.load_state_dict(ours.state_dict(), strict=True)
    return ours.double(), literal.double()


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("spec", few(CELLS.values(), 5))
def test_outputs_and_gradients_equal_the_literal_network(spec):
    ours, literal = pair(spec, "ImageNet16-120", seed=3)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 16, 16, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 120, (4,), generator=generator)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    outputs = [net(i) for net, i in zip((ours, literal), inputs, strict=True)]
    torch.testing.assert_close(*outputs, rtol=1e-11, atol=1e-12)

    for logits in outputs:
        nn.functional.cross_entropy(logits, y).backward()
    for (name, ours_p), (literal_name, literal_p) in zip(
        ours.named_parameters(), literal.named_parameters(), strict=True
    ):
        assert name == literal_name
        gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad
            for p in (ours_p, literal_p)
        ]
        scale = gradients[1].abs().max().item()
        torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-8 * scale)
    gradients = [torch.zeros_like(i) if i.grad is None else i.grad for i in inputs]
    scale = gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-8 * scale)
    for name, buffer in literal.named_buffers():  # dead operations run, too
        torch.testing.assert_close(ours.get_buffer(name), buffer)


def test_eval_mode_equals_the_literal_network():
    ours, literal = pair(CELLS["all 3x3"], "cifar10")
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for net in (ours, literal):
        net(x)  # moves the running statistics
        net.eval()
    torch.testing.assert_close(ours(x), literal(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("task", FIXED)
def test_state_dict_has_the_published_names(task):
    spec = spec_of(NONE, SKIP, CONV1, CONV3, POOL, CONV3)
    batch_norm = ["weight", "bias", "running_mean", "running_var"]
    batch_norm.append("num_batches_tracked")

    def conv_bn(prefix: str, conv: str = "op.1", bn: str = "op.2") -> list[str]:
        return [f"{prefix}.{conv}.weight", *(f"{prefix}.{bn}.{n}" for n in batch_norm)]

    expected = conv_bn("stem", "0", "1")
    for cell in range(17):
        if cell in (5, 11):
            expected += conv_bn(f"cells.{cell}.conv_a")
            expected += conv_bn(f"cells.{cell}.conv_b")
            expected.append(f"cells.{cell}.downsample.1.weight")
        else:
            for layer in (2, 3, 5):
                expected += conv_bn(f"cells.{cell}.layers.{layer}")
    expected += [f"lastact.0.{name}" for name in batch_norm]
    expected += ["classifier.weight", "classifier.bias"]
    net = SPACE.build(SPACE.parse(spec), task)
    assert sorted(net.state_dict()) == sorted(expected)
    assert net.training
    assert net.get_parameter("cells.5.conv_a.op.1.weight").shape == (32, 16, 3, 3)
    assert net.get_parameter("cells.12.layers.2.op.1.weight").shape == (64, 64, 1, 1)


@pytest.mark.parametrize("task", few(FIXED))
def test_number_of_parameters_is_the_closed_form_everywhere(task):
    """Measured increment of each operation on each edge, summed for all 15,625."""
    empty = count(SPACE.build(SPACE.parse(CELLS["all none"]), task))
    assert empty == FIXED[task]
    increment = {}
    for edge, operation in itertools.product(range(6), OPERATIONS):
        names = [NONE] * 6
        names[edge] = operation
        net = SPACE.build(SPACE.parse(spec_of(*names)), task)
        increment[edge, operation] = count(net) - empty
    for index in range(len(SPACE)):
        names = re.findall(r"\|?([a-z_0-9]+)~\d", SPACE.architecture(index).spec)
        measured = empty + sum(increment[edge] for edge in enumerate(names))
        assert measured == FIXED[task] + sum(PER_OPERATION[name] for name in names)


@pytest.mark.thorough
@pytest.mark.parametrize("task", FIXED)
def test_increments_of_operations_add_up(task):
    for spec in CELLS.values():
        ours = count(SPACE.build(SPACE.parse(spec), task))
        names = re.findall(r"\|?([a-z_0-9]+)~\d", spec)
        assert ours == FIXED[task] + sum(PER_OPERATION[name] for name in names)
        assert ours == count(TinyNetwork(spec, SPACE.tasks[task].n_classes))


@pytest.mark.parametrize(
    ("cell", "millions"), [("all 3x3", 220.120), ("all none", 7.783)]
)
def test_multiply_accumulates_of_known_cells(cell, millions):
    image, label = torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64)
    for net in pair(CELLS[cell], "cifar10"):
        macs = reference("flops")(net, image, label)
        assert round(macs / 1e6, 3) == millions


def test_n_layers_is_the_number_of_convolutions_on_a_path_and_the_classifier() -> None:
    """Also for cells whose gradients pass below float32's smallest number."""
    plan = make_plan(PROXIES.select("n_layers"))
    batch = Batch(torch.randn(2, 3, 16, 16), torch.arange(2))
    chosen = np.random.default_rng(0).integers(len(SPACE), size=10)
    for index in [9_639, 2_388, 11_138, 6_269, 8_643, *chosen.tolist()]:
        arch = SPACE.architecture(index)
        cell = tuple(n for part in operations_of(arch.spec) for n, _ in part)
        reached, useful = reachable(cell, 4)
        on_path = sum(
            operation.startswith("nor_conv") and a in reached and b in useful
            for (a, b), operation in zip(edges_of(4), cell, strict=True)
        )
        # Stem, three convolutions in each residual block, classifier; 15 cells.
        expected = 1 + 2 * 3 + 1 + 15 * on_path
        if 3 not in reached:
            continue  # nothing but the last residual block reaches the classifier
        found = evaluate(SPACE.build(arch, "ImageNet16-120"), batch, plan)
        assert found.scores["n_layers"].value == expected, arch.spec
