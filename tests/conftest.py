"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES: list[object] = []  # operators go with what has defined them


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
def one_thread() -> None:
    """Scores are compared bit for bit, so every test uses one thread."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def zoo() -> None:
    """Import timm and torchvision, also where its compiled part does not load.

    Networks that classify need nothing of that part but that its operators exist.
    """
    import importlib.util
    import warnings

    import torch

    for name in ("timm", "torchvision"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'zcbench[networks]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import torchvision
        except RuntimeError:
            for name in [n for n in sys.modules if n.startswith("torchvision")]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            _LIBRARIES.append(library)
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for name in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, name):
                    library.define(name + boxes)
            import torchvision  # noqa: F401
        import timm  # noqa: F401
