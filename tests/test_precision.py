"""Lower precisions: close where they round, exact where they must not."""

from __future__ import annotations

import pytest
import torch

import zcbench
from zcbench.errors import UsageError
from zcbench.evaluate import evaluate
from zcbench.evidence.passes import arithmetic
from zcbench.plan import make_plan
from zcbench.proxies import PROXIES

NB201 = zcbench.load_space("nb201")
BATCH = zcbench.Batch(
    torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
    torch.arange(8) // 2,
)


pytestmark = pytest.mark.usefixtures("few_draws")


def scores(precision: str, index: int = 11_111) -> dict[str, float]:
    network = NB201.build(NB201.architecture(index), "ImageNet16-120")
    plan = make_plan(PROXIES.select("all"))
    found = evaluate(network, BATCH, plan, precision=precision).scores
    assert {s.status for s in found.values()} == {"ok"}
    return {name: s.value for name, s in found.items()}


@pytest.mark.thorough
def test_bf16_rounds_the_passes_over_many_images_and_nothing_else() -> None:
    full, low = scores("float32"), scores("bf16")
    for name in ("params", "flops", "n_layers", "l2_norm", "synflow"):
        assert low[name] == full[name]
    for name in ("snip", "grad_norm", "fisher", "zen"):
        assert low[name] == pytest.approx(full[name], rel=0.2)
        assert low[name] != full[name]
    assert low["nwot"] == pytest.approx(full["nwot"], rel=1e-2)


def test_tf32_needs_cuda() -> None:
    with (
        pytest.raises(
            UsageError, match=r"^tf32 is arithmetic of CUDA devices, and this"
        ),
        arithmetic("tf32", torch.device("cpu")),
    ):
        pass


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_settings_of_torch_are_restored(precision: str) -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    with arithmetic(precision, torch.device("cpu")):
        assert cudnn.allow_tf32 is False
    assert cudnn.allow_tf32 == before
    assert not torch.is_autocast_enabled("cpu")
