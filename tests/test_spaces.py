"""Enumeration, strings and populations of the spaces; weights by name."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import zcbench
from zcbench.errors import DataError, UsageError
from zcbench.networks.cell_graph import edges_of, live_edges, reachable

NB201 = zcbench.load_space("nb201")
TOY = zcbench.load_space("toy")
EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.mark.parametrize(
    ("space", "sizes"),
    [(NB201, (15_625, 15_284, 9_445)), (TOY, (27, 22, 15))],
    ids=["nb201", "toy"],
)
def test_sizes_of_populations(space, sizes) -> None:
    members = [space.population(name) for name in space.populations]
    assert tuple(map(len, members)) == sizes
    assert len(space) == sizes[0]
    for some in members:
        assert np.all(np.diff(some) > 0)
    assert not set(members[2]) - set(members[0])


def test_index_is_the_base_5_number_of_the_operations() -> None:
    spec = "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|"
    digits = (2, 0, 4, 1, 0, 0)
    expected = sum(digit * 5 ** (5 - place) for place, digit in enumerate(digits))
    assert NB201.parse(spec).index == expected
    assert NB201.architecture(expected).spec == spec


@given(st.integers(0, 15_624))
def test_parse_inverts_architecture(index: int) -> None:
    arch = NB201.architecture(index)
    assert NB201.parse(arch.spec) == arch


@given(st.text(max_size=200))
def test_foreign_strings_are_data_errors(text: str) -> None:
    try:
        arch = NB201.parse(text)
    except DataError:
        return
    assert NB201.architecture(arch.index).spec == text


def test_unknown_operation_is_named() -> None:
    with pytest.raises(DataError, match="has the unknown operation 'dil_conv_3x3'"):
        NB201.parse(EMPTY.replace("none~2", "dil_conv_3x3~2"))


@pytest.mark.parametrize("index", [-1, 15_625])
def test_index_out_of_range(index: int) -> None:
    message = (
        f"Architecture index {index} is not in nb201. Indices run from 0 to 15624."
    )
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        NB201.architecture(index)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Unknown space 'nb210'\. Did you mean nb201"):
        zcbench.load_space("nb210")
    with pytest.raises(UsageError, match=r"Did you mean ImageNet16-120\?"):
        NB201.build(NB201.architecture(0), "imagenet16-120")
    with pytest.raises(UsageError, match=r"Did you mean trimmed\?"):
        NB201.population("trimed")


def test_reachability_by_hand() -> None:
    # 0→1 conv, 1→2 conv, nothing into 3 but 0→3: nodes 1 and 2 are dead ends.
    cell = ("nor_conv_3x3", "none", "nor_conv_1x1", "skip_connect", "none", "none")
    assert reachable(cell, 4) == ({0, 1, 2, 3}, {0, 3})
    assert live_edges(cell, 4) == (False, False, False, True, False, False)
    assert edges_of(4) == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def test_connected_cells_depend_on_their_input() -> None:
    """The populations say the same as the networks do."""
    connected, x = set(TOY.population("connected")), torch.randn(2, 3, 8, 8)
    for index in range(len(TOY)):
        network = TOY.build(TOY.architecture(index), "toy")
        depends = not torch.equal(network(x), network(x + 1 * torch.randn_like(x)))
        assert depends == (index in connected)


@pytest.mark.thorough
def test_params_equal_the_closed_form_for_all_architectures() -> None:
    """design: base + 28,000 per 1×1 + 243,040 per 3×3, for 15,625 × 3."""
    bases = {"cifar10": 73_306, "cifar100": 79_156, "ImageNet16-120": 80_456}
    counts: dict[tuple[int, int], list[int]] = {}
    for index in range(len(NB201)):
        spec = NB201.architecture(index).spec
        key = spec.count("nor_conv_1x1"), spec.count("nor_conv_3x3")
        counts.setdefault(key, []).append(index)
    assert sum(map(len, counts.values())) == 15_625
    for (ones, threes), members in counts.items():
        # #params do not depend on the place of an operation: one network for each
        # count, and for some of them the last member too.
        for index in {members[0], members[-1]}:
            # The tasks differ in their classifiers alone: one network tells of them.
            some = bases if ones == threes else {"cifar10": bases["cifar10"]}
            for task, base in some.items():
                with torch.device("meta"):
                    network = _skeleton(index, task)
                size = sum(p.numel() for p in network.parameters())
                assert size == base + 28_000 * ones + 243_040 * threes


def _skeleton(index: int, task: str) -> torch.nn.Module:
    from zcbench.networks.cell import CellNetwork

    cell = NB201.cell(NB201.architecture(index).spec)
    return CellNetwork(cell, 4, NB201.tasks[task], NB201.stages, NB201.depth)


def test_weights_depend_on_seed_repeat_and_name_alone() -> None:
    spec = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|"
    one = NB201.build(NB201.parse(spec), "cifar10", seed=3, repeat=1).state_dict()
    other = NB201.build(
        NB201.parse(spec.replace("|+|none~0", "|+|nor_conv_3x3~0", 1)),
        "cifar100",
        seed=3,
        repeat=1,
    ).state_dict()
    shared = [k for k in one if k in other and one[k].shape == other[k].shape]
    assert len(shared) > 50
    for name in shared:
        assert torch.equal(one[name], other[name]), name
    for seed, repeat in ((4, 1), (3, 2)):
        changed = NB201.build(NB201.parse(spec), "cifar10", seed=seed, repeat=repeat)
        weight = changed.state_dict()["stem.0.weight"]
        assert not torch.equal(weight, one["stem.0.weight"])


def test_initialisation_has_pytorchs_default_distribution() -> None:
    network = NB201.build(NB201.architecture(15_624 // 4 * 3), "cifar10")
    state = network.state_dict()
    weight = state["cells.11.conv_b.op.1.weight"]
    bound = (64 * 9) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert torch.equal(state["stem.1.weight"], torch.ones(16))
    assert torch.equal(state["stem.1.running_var"], torch.ones(16))
    assert network.training


def test_building_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    NB201.build(NB201.architecture(7), "cifar10")
    assert torch.equal(torch.random.get_rng_state(), before)
