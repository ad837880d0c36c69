"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code: nothing here depends on time.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy")

os.environ.pop("COLUMNS", None)  # of pytest-xdist: what is printed would be cut to it

ROOT = Path(__file__).resolve().parent.parent


WAITING = ("test_clusters.py", "test_guests.py", "test_engine_processes.py")
"""Files whose tests wait for processes: begun first, others run meanwhile."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in WAITING)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public benchmark data that lies beside the checkout."""
    folder = Path(
        os.environ.get("ZCBENCH_SHARED_DATA", ROOT.parent / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: this test needs public benchmark data")
    return folder


@pytest.fixture(autouse=True, scope="session")
def interrupts() -> None:
    """Signals do what they do in a terminal: `&` and nohup have them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Scores are compared bit for bit, so every test uses one thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def plugins_unloaded() -> Iterator[None]:
    """Forget plug-ins of the test, whose names others use too."""
    from zcbench import plugins, proxies

    before = set(proxies.PROXIES.names())
    yield
    for name in set(proxies.PROXIES.names()) - before:
        proxies.PROXIES.remove(name)
    plugins._loaded.clear()


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of swap's weights, where their number is not what is tested."""
    monkeypatch.setattr("zcbench.evidence.drawn_patterns.DRAWS", 3)


@pytest.fixture
def quick_conformance(monkeypatch: pytest.MonkeyPatch, few_draws: None) -> None:
    """Of a space of deep networks: two of them, with few draws."""
    monkeypatch.setattr("zcbench.conformance.spaces._N_NETWORKS", 2)


@pytest.fixture(scope="session")
def zoo() -> None:
    """Import timm and torchvision, also where its compiled part does not load."""
    from zoo import import_zoo, missing_zoo

    if name := missing_zoo():
        pytest.skip(f"{name} is not installed: pip install 'zcbench[networks]'")
    import_zoo()
