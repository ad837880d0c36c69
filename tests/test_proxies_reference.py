"""`zcbench.score` against the literal float64 references, and those against algebra.

Networks and images are float32, as users have them; scores are compared to 1e-6. With
`precision="float32"` the definitions themselves are ill-conditioned (a ReLU input near
zero changes sign, and a gradient with it), so there the test is that zcbench strays no
further than a float32-sized change of the weights does.
"""

import copy
import functools
import itertools
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from levels import few
from networks import OPERATIONS, TinyNetwork, spec_of
from reference import COSTLY, REFERENCES, VARIANTS, reference, zen_repeats
from torch import Tensor, nn

import zcbench

NONE, SKIP, CONV1, CONV3, POOL = OPERATIONS
SPACE = zcbench.load_space("nb201")
ZEN_REPEATS = 7
TRANSFORMERS = {
    *("dss", "head_confidence", "softmax_confidence", "activation_distance", "w_pca"),
}
"""Undefined without attention: tests/test_transformers.py."""
PROXIES = tuple(n for n in REFERENCES if n not in (*COSTLY, *TRANSFORMERS))
PROXIES += tuple(VARIANTS)
DRAWN = ("swap", "reg_swap")
TOLERANCE = {"epsinas": (0.02, 1e-6)}
"""Of what is float32 by definition, a small difference of two outputs; (1e-6, 0) else.
"""

CELLS = {
    "all skip": spec_of(*[SKIP] * 6),
    "all pool": spec_of(*[POOL] * 6),
    "all 1x1": spec_of(*[CONV1] * 6),
    "all 3x3": spec_of(*[CONV3] * 6),
    "all none": spec_of(*[NONE] * 6),
    "no path, dead operations": spec_of(CONV3, CONV1, SKIP, NONE, NONE, NONE),
    "no path, fed by nothing": spec_of(NONE, NONE, CONV3, NONE, CONV1, POOL),
    "dead node 2": spec_of(CONV1, CONV3, CONV1, SKIP, CONV3, NONE),
    "unreachable node 1": spec_of(NONE, CONV1, CONV3, POOL, CONV1, CONV3),
    "one conv": spec_of(NONE, SKIP, NONE, NONE, NONE, CONV1),
}
CELLS |= {
    f"index {index}": SPACE.architecture(index).spec
    for index in np.random.default_rng(7).integers(0, 15_625, 2).tolist()
}


@dataclass(frozen=True)
class Case:
    """A network and a batch: `depth` 5 is the official one, built by zcbench."""

    cell: str
    task: str
    n: int
    depth: int = 5
    side: int = 16

    def __str__(self) -> str:
        return f"{self.cell}-{self.task}-{self.n}-{self.depth}"


CASES = [
    Case("unreachable node 1", "ImageNet16-120", 8),
    Case("all skip", "cifar10", 8),
    Case("all pool", "cifar100", 8),
    Case("all 3x3", "cifar10", 6, depth=1, side=32),
    *(
        Case(cell, "ImageNet16-120", 8, depth=1)
        for cell in CELLS
        if cell not in ("unreachable node 1", "all pool", "all 3x3")
    ),
]
"""One deep cell, two that are deep and cheap; the others in networks of three cells."""
FEW = [c for c in CASES if c.depth == 5 and c.cell == "all skip"]
FEW += [c for c in CASES if c.depth == 1 and c.cell == "dead node 2"]
"""Of them, what is not only thorough."""


def make_batch(n: int, shape: tuple[int, int, int], n_classes: int) -> zcbench.Batch:
    """Smooth random images; classes of one, two and more images."""
    generator = torch.Generator().manual_seed(n)
    coarse = torch.randn(n, 3, 4, 4, generator=generator)
    x = nn.functional.interpolate(coarse, shape[1:], mode="bilinear")
    x += 0.3 * torch.randn(n, *shape, generator=generator)
    y = torch.arange(n) * 3 % n_classes  # all different at first
    y[: n // 2 : 2] = 5
    y[-2:] = 1
    return zcbench.Batch(x, y)


@functools.cache
def setting(case: Case) -> tuple[TinyNetwork, zcbench.Batch]:
    """The literal network and the batch; zcbench's build has the same state."""
    task = SPACE.tasks[case.task]
    spec = CELLS[case.cell]
    net = TinyNetwork(spec, task.n_classes, cells=case.depth)
    if case.depth == 5:
        state = SPACE.build(SPACE.parse(spec), case.task, seed=1).state_dict()
        net.load_state_dict(state, strict=True)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            net = TinyNetwork(spec, task.n_classes, cells=case.depth)
    return net, make_batch(case.n, (3, case.side, case.side), task.n_classes)


@functools.cache
def expected(case: Case, name: str) -> float | list[float] | None:
    """Value of the reference; for zen, that of several draws."""
    net, batch = setting(case)
    if name == "zen":
        return zen_repeats(net, batch.x, batch.y, repeats=ZEN_REPEATS)
    return reference(name)(net, batch.x, batch.y)


@functools.cache
def scores(case: Case, network: str) -> dict[str, zcbench.Score]:
    net, batch = setting(case)
    if network == "built":
        net = SPACE.build(SPACE.parse(CELLS[case.cell]), case.task, seed=1)
    return zcbench.score(net, batch, names_of(case))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_undefined(score: zcbench.Score) -> None:
    assert score.value is None
    assert score.status in ("undefined", "nan", "inf")
    assert score.seconds >= 0


def check(name: str, score: zcbench.Score, reference: float | list[float] | None):
    if isinstance(reference, list):
        if any(math.isnan(value) for value in reference):
            check_undefined(score)
            return
        mean, deviation = np.mean(reference), np.std(reference, ddof=1)
        assert score.status == "ok", score.message
        assert abs(score.value - mean) < 5 * deviation
        return
    if reference is None:
        check_undefined(score)
        return
    assert (score.status, score.message) == ("ok", "")
    relative, absolute = TOLERANCE.get(name, (1e-6, 0))
    assert score.value == pytest.approx(reference, rel=relative, abs=absolute)


def names_of(case: Case) -> tuple[str, ...]:
    """What is compared there; what draws 32 networks only where networks are small."""
    small = case.depth == 1 and case.cell in ("all skip", "dead node 2", "all none")
    return tuple(name for name in PROXIES if small or name not in DRAWN)


def as_one_of(case: Case, name: str):
    marks = () if case in FEW and name not in DRAWN else pytest.mark.thorough
    return pytest.param(case, name, id=f"{case}-{name}", marks=marks)


PAIRS = [as_one_of(c, n) for c in CASES for n in names_of(c)]
BUILT = [pair for pair in PAIRS if pair.values[0].depth == 5]


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_score_of_the_literal_network_equals_the_reference(case, name):
    check(name, scores(case, "literal")[name], expected(case, name))


@pytest.mark.parametrize(("case", "name"), BUILT)
def test_score_of_the_built_network_equals_the_reference(case, name):
    check(name, scores(case, "built")[name], expected(case, name))


@pytest.mark.thorough
def test_disconnected_cells_have_a_status_or_a_plain_zero():
    for case in CASES:
        if case.cell not in ("all none", "no path, fed by nothing"):
            continue
        got = scores(case, "literal")
        for name in ("synflow", "jacov", "epe_nas", "nwot", "zen"):
            check_undefined(got[name])
        for name in ("plain", "snip", "grad_norm", "grasp", "n_layers"):
            assert got[name].value == 0
        # The classifier's output is its bias, and the loss depends on that.
        assert got["fisher"].value > 0
    dead = Case("no path, dead operations", "ImageNet16-120", 8, depth=1)
    dead = scores(dead, "literal")
    assert dead["nwot"].status == "ok"  # ReLUs on dead branches count
    assert dead["jacov"].value is None


class Plain(nn.Module):
    """A classifier unlike NAS-Bench-201: biases, groups, in-place ReLU, two linears."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1, groups=4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, (1, 3), stride=(2, 1), bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


@functools.cache
def plain_setting() -> tuple[Plain, zcbench.Batch]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Plain()
        for parameter in net.parameters():  # BatchNorm not at its initial values
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net, make_batch(12, (3, 16, 16), 7)


@pytest.mark.parametrize("name", PROXIES)
def test_score_of_any_classifier_equals_the_reference(name):
    net, batch = plain_setting()
    if name == "zen":
        want = zen_repeats(net, batch.x, batch.y, repeats=ZEN_REPEATS)
    else:
        want = reference(name)(net, batch.x, batch.y)
    check(name, zcbench.score(net, batch, name)[name], want)


@pytest.mark.thorough
@pytest.mark.parametrize("cell", ["dead node 2"])
def test_float32_strays_no_further_than_a_float32_change_of_the_weights(cell):
    net, batch = setting(Case(cell, "ImageNet16-120", 8, depth=1))
    got = zcbench.score(net, batch, PROXIES, precision="float32")
    generator = torch.Generator().manual_seed(0)
    others = [copy.deepcopy(net).double() for _ in range(2)]
    for p in itertools.chain(*(other.parameters() for other in others)):
        noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        p.data *= 1 + 2**-21 * noise
    for name in PROXIES:
        if name in ("zen", *DRAWN):
            continue
        exact = expected(Case(cell, "ImageNet16-120", 8, depth=1), name)
        moved = [abs(reference(name)(o, batch.x, batch.y) - exact) for o in others]
        allowed = max(1e-4 * abs(exact), 10 * max(moved))
        assert abs(got[name].value - exact) <= allowed, name


# What scoring leaves behind: nothing.


def snapshot(net: nn.Module) -> list[object]:
    """All that must not change, in a form that `==` compares bit by bit."""
    found: list[object] = []
    for name, value in net.state_dict().items():
        found.append((name, value.dtype, value.stride(), value.data_ptr()))
        found.append(value.numpy().tobytes())
    for name, parameter in net.named_parameters():
        grad = parameter.grad
        found.append((name, parameter.requires_grad, id(grad), id(parameter)))
        found.append(None if grad is None else grad.numpy().tobytes())
    for name, module in net.named_modules():
        hooks = {
            key: list(value.values())
            for key, value in vars(module).items()
            if key.endswith("_hooks") and isinstance(value, dict)
        }
        found.append((name, type(module), module.training, hooks, module.forward))
        found.append(sorted(vars(module)))
    return found


def random_states() -> list[object]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state().numpy().tobytes()
    of_cuda = torch.cuda._lazy_seed_tracker.get_calls()  # the seed that it starts with
    return [random.getstate(), kind, keys.tobytes(), rest, torch_state, of_cuda]


@pytest.mark.parametrize(
    ("source", "kind", "mode"),
    [
        ("any", "fresh", "eval"),
        ("any", "frozen", "train"),
        ("any", "with gradients and hooks", "train"),
        ("built", "with gradients and hooks", "eval"),
        *few(
            itertools.product(
                ("literal", "any"),
                ("fresh", "frozen", "with gradients and hooks"),
                ("train", "eval"),
            ),
            0,
        ),
    ],
)
def test_scoring_leaves_everything_bit_equal(few_draws, source, kind, mode):
    spec = CELLS["dead node 2"]
    x, y = make_batch(4, (3, 16, 16), 7).x, torch.tensor([0, 1, 1, 2])
    torch.manual_seed(0)
    if source == "built":
        net = SPACE.build(SPACE.parse(spec), "ImageNet16-120")
    else:
        net = TinyNetwork(spec, 120, cells=1) if source == "literal" else Plain()
    net.train(mode == "train")
    net.get_submodule("stem" if source != "any" else "body").eval()  # mixed modes
    if kind == "frozen":
        net.requires_grad_(False)
    if kind == "with gradients and hooks":
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, 2.0)
        net.register_forward_hook(lambda module, inputs, output: output)
        next(net.children()).register_forward_pre_hook(lambda module, inputs: None)
    images = x.clone()
    before, states = snapshot(net), random_states()
    settings = (torch.get_default_dtype(), torch.is_grad_enabled(), y.clone())
    scores = zcbench.score(net, zcbench.Batch(x, y))
    assert snapshot(net) == before
    assert random_states() == states
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == settings[:2]
    assert torch.equal(y, settings[2])
    assert torch.equal(x, images)
    assert x.grad is None
    assert not x.requires_grad
    assert list(scores) == [p.name for p in zcbench.proxies.PROXIES.select("all")]
    undefined = {n for n, s in scores.items() if s.status == "undefined"}
    blocks = {"az_expressivity", "az_progressivity", "az_trainability", "wrcor"}
    blocks |= {"lin_regions"}  # there is no thin version of it
    few = {"epe_nas"}  # two images of a class, above 100 classes
    assert undefined == (blocks if source == "any" else few)
    assert {s.status for s in scores.values()} <= {"ok", "undefined"}


def test_float64_networks_and_images_are_taken_as_they_are():
    net, batch = plain_setting()
    want = {n: s.value for n, s in zcbench.score(net, batch).items()}
    double = copy.deepcopy(net).double()
    for x, y in ((batch.x.double(), batch.y), (batch.x, batch.y)):
        got = zcbench.score(double, zcbench.Batch(x, y))
        assert {n: s.value for n, s in got.items()} == want


def test_mode_freezing_and_no_grad_change_no_score():
    net, batch = plain_setting()
    want = {n: s.value for n, s in zcbench.score(net, batch).items()}
    other = copy.deepcopy(net).eval()
    with torch.no_grad():
        got = {n: s.value for n, s in zcbench.score(other, batch).items()}
    assert got == want
    frozen = copy.deepcopy(net).requires_grad_(False)
    got = {n: s.value for n, s in zcbench.score(frozen, batch).items()}
    assert got.pop("params") == 0  # none is trainable
    assert got.pop("reg_swap") < want["reg_swap"]  # which counts them, too
    assert got.items() <= want.items()


# The references themselves, against algebra.


@functools.cache
def small_setting() -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        spec = spec_of(CONV3, CONV1, SKIP, POOL, CONV3, CONV1)
        net = TinyNetwork(spec, 5, channels=4, cells=1).double()
        x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    return net, x, torch.tensor([0, 1, 2, 3, 4, 0])


def gradients(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    net = copy.deepcopy(net)
    loss = nn.functional.cross_entropy(net(x), y)
    names = [n for n, p in net.named_parameters() if p.dim() > 1]
    grads = torch.autograd.grad(loss, [net.get_parameter(n) for n in names])
    return dict(zip(names, grads, strict=True))


def test_reference_grasp_is_a_finite_difference_of_gradients():
    net, x, y = small_setting()
    g = gradients(net, x, y)
    step = 1e-6
    ends = []
    for sign in (1, -1):
        moved = copy.deepcopy(net)
        for name, grad in g.items():
            moved.get_parameter(name).data += sign * step * grad
        ends.append(gradients(moved, x, y))
    want = -sum(
        (net.get_parameter(n).detach() * (ends[0][n] - ends[1][n])).sum().item()
        for n in g
    ) / (2 * step)
    assert reference("grasp")(net, x, y) == pytest.approx(want, rel=1e-5)


def test_reference_gradients_obey_scale_invariance():
    """Where BatchNorm follows, Σ w·g = 0 and −Σ w·(H g) = ‖g‖²."""
    net, x, y = small_setting()
    net = copy.deepcopy(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-20
    g = gradients(net, x, y)
    free = [n for n in g if "downsample" in n or "classifier" in n]
    want = sum((net.get_parameter(n) * g[n]).sum().item() for n in free)
    assert reference("plain")(net, x, y) == pytest.approx(want, rel=1e-9)
    assert reference("snip")(net, x, y) > abs(want)
    norms = sum(grad.norm().item() for grad in g.values())
    assert reference("grad_norm")(net, x, y) == pytest.approx(norms, rel=1e-12)


def test_reference_fisher_of_one_linear_layer():
    net = nn.Linear(3, 4).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    a = net(x).detach().numpy()
    p = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    want = 0.0
    for channel, image in itertools.product(range(4), range(5)):
        dl_da = (p[image, channel] - (y[image] == channel).item()) / 5
        want += 3 * 0.5 * (a[image, channel] * dl_da) ** 2 / 5
    assert reference("fisher")(net, x, y) == pytest.approx(want, rel=1e-10)


def test_reference_synflow_of_a_chain_counts_its_layers():
    """R is linear in each layer of a chain, so that each adds R itself."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, bias=False),
        nn.Flatten(),
        nn.Linear(32, 5, bias=False),
    ).double()
    x, y = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    first, second, last = (w.detach().abs() for w in net.parameters() if w.dim() > 1)
    r = nn.functional.conv2d(torch.ones(1, 3, 8, 8, dtype=torch.float64), first)
    r = (nn.functional.conv2d(r, second).flatten(1) @ last.T).sum().item()
    assert reference("synflow")(net, x, y) == pytest.approx(math.log(3 * r))


def test_reference_correlations_of_a_linear_classifier():
    """J has equal rows: the correlations are ones, their eigenvalues N, 0, …, 0."""
    k = 1e-5
    x, y = torch.randn(6, 1, 2, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 100)).double()
    want = -(math.log(6 + k) + 1 / (6 + k) + 5 * (math.log(k) + 1 / k))
    assert reference("jacov")(net, x, y) == pytest.approx(want, rel=1e-6)
    want = (9 + 4 + 1) * math.log1p(k)
    assert reference("epe_nas")(net, x, y) == pytest.approx(want, rel=1e-6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 101)).double()
    per_class = [9 / 3, 4 / 2]  # times log(1 + k); the class with one image is skipped
    pairs = sum(abs(a - b) for a in per_class for b in per_class) / 2
    want = pairs * math.log1p(k)
    assert reference("epe_nas")(net, x, y) == pytest.approx(want, rel=1e-6)


def test_reference_nwot_of_known_codes():
    net = nn.Sequential(nn.Flatten(), nn.ReLU()).double()
    y = torch.tensor([0, 1])
    x = torch.tensor([[1.0, -1, 2, -3, 0], [1.0, 1, 2, -3, 0]]).reshape(2, 1, 1, 5)
    want = math.log(5 * 5 - 4 * 4)  # 5 codes, 4 of them equal
    assert reference("nwot")(net, x, y) == pytest.approx(want)
    twice = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.ReLU(inplace=True)).double()
    assert reference("nwot")(twice, x, y) == pytest.approx(math.log(4) + want)
    assert reference("nwot")(net, x[:1].repeat(2, 1, 1, 1), y) is None


def test_reference_zen_of_one_convolution():
    """|Σ_c w e| is half-normal given w, with scale ‖w‖; no BatchNorm, no bias."""
    conv = nn.Conv2d(3, 400, 1)
    net = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    values = zen_repeats(net, torch.zeros(8, 3, 8, 8), torch.zeros(8), repeats=4)
    norm = math.sqrt(2) * math.gamma(2) / math.gamma(1.5)  # E ‖w‖ of 3 normals
    want = math.log(0.01 * 400 * 64 * norm * math.sqrt(2 / math.pi))
    assert values == pytest.approx([want] * 4, abs=0.1)


@pytest.mark.parametrize(
    ("cell", "convolutions"),
    [
        ("all none", -8),  # nothing reaches the output, not even the stem
        ("all skip", 0),
        ("all 3x3", 90),
        ("no path, dead operations", -8),
        ("dead node 2", 30),
        ("unreachable node 1", 30),
        ("one conv", 15),
    ],
)
def test_reference_n_layers_by_hand(cell, convolutions):
    """Beside the cells: stem, two blocks of three convolutions, classifier."""
    net, batch = setting(Case(cell, "ImageNet16-120", 8))
    assert reference("n_layers")(net, batch.x, batch.y) == 8 + convolutions


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize("cell", few(["dead node 2", "all skip", "all none"]))
def test_costly_scores_equal_the_reference(name, cell):
    spec = CELLS[cell]
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = TinyNetwork(spec, 5, channels=4, cells=1)
    batch = make_batch(6, (3, 8, 8), 5)
    batch = zcbench.Batch(batch.x, batch.y % 5)
    want = reference(name)(net, batch.x, batch.y)
    check(name, zcbench.score(net, batch, name)[name], want)


def test_costly_proxies_are_left_out_of_all():
    proxies = zcbench.proxies.PROXIES
    everything = [p.name for p in proxies.select("all")]
    assert set(proxies.names()) - set(everything) == {*COSTLY, *TRANSFORMERS, "epsinas"}
    assert {p.name for p in proxies.select("transformers")} == TRANSFORMERS
    assert [p.name for p in proxies.select("all,gennas")] == [*everything, "gennas"]


def test_sets_of_proxies():
    proxies = zcbench.proxies.PROXIES
    assert [p.name for p in proxies.select("baselines,snip")] == [
        *("params", "flops", "n_layers", "avg_degree", "n_relus", "op_balance"),
        "snip",
    ]
    assert len(proxies.select("suite")) == 14
    assert proxies.select(["suite", "all"])[:14] == proxies.select("suite")
