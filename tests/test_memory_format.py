"""Channels-last memory on the CPU alone: on CUDA average pooling is wrong in it."""

from __future__ import annotations

import pytest
import torch

import zcbench
from zcbench.evidence.clock import Clock
from zcbench.evidence.passes import make_records
from zcbench.evidence.records import Gradients
from zcbench.evidence.subject import make_subject, memory_format

NB201 = zcbench.load_space("nb201")
SPEC = (
    "|avg_pool_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|"
)


def test_channels_last_is_for_the_cpu() -> None:
    assert memory_format(torch.ones(1, 2, 3, 3)) is torch.channels_last
    assert memory_format(torch.ones(2, 3)) is torch.contiguous_format
    elsewhere = torch.ones(1, 2, 3, 3, device="meta")
    assert memory_format(elsewhere) is torch.contiguous_format


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_gradients_through_average_pooling_on_cuda() -> None:
    here, there = gradients("cpu", torch.float64), gradients("cuda", torch.float32)
    for exact, found in zip(here.grads, there.grads, strict=True):
        error = (found.cpu().double() - exact).norm()
        assert error <= 0.05 * exact.norm()


def gradients(device: str, dtype: torch.dtype) -> Gradients:
    x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = zcbench.Batch(x.to(device, dtype), torch.arange(8).to(device))
    network = NB201.build(NB201.parse(SPEC), "ImageNet16-120").to(device, dtype)
    subject = make_subject(network, batch, 0)
    needs: frozenset[type] = frozenset({Gradients})
    record = make_records(subject, needs, Clock(subject.batch.x.device))[Gradients]
    assert isinstance(record, Gradients)
    return record
