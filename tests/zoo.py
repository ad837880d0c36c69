"""Imports timm and torchvision."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType

import torch

_LIBRARIES: list[object] = []  # operators go with what has defined them


def missing_zoo() -> str:
    """Name of the one that is not installed, or nothing."""
    names = ("timm", "torchvision")
    return next((n for n in names if importlib.util.find_spec(n) is None), "")


def import_zoo() -> tuple[ModuleType, ModuleType]:
    """(timm, torchvision).

    Networks that classify need nothing of torchvision's compiled part but that its
    operators exist.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torchvision = importlib.import_module("torchvision")
        except RuntimeError:
            for name in [n for n in sys.modules if n.startswith("torchvision")]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            _LIBRARIES.append(library)
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            for name in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, name):
                    library.define(name + boxes)
            torchvision = importlib.import_module("torchvision")
        return importlib.import_module("timm"), torchvision
