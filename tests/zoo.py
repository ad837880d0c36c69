"""Imports timm and torchvision."""

from __future__ import annotations

import importlib.util
import warnings
from types import ModuleType

from zcbench.networks import loading as zoos


def missing_zoo() -> str:
    """Name of the one that is not installed, or nothing."""
    return next((n for n in zoos.ZOOS if importlib.util.find_spec(n) is None), "")


def import_zoo() -> tuple[ModuleType, ModuleType]:
    """(timm, torchvision), also where torchvision's compiled part does not load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torchvision = zoos.import_zoo("torchvision")
        return zoos.import_zoo("timm"), torchvision
