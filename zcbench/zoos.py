"""Networks of timm and torchvision by their names, with the images that they take."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

ZOOS = ("timm", "torchvision")
"""What may stand before the colon of a target; both build without weights."""
_AUXILIARY = ("inception_v3", "googlenet")
"""In train mode these give more than logits, unless told not to."""


def split(target: str) -> tuple[str, str] | None:
    """(zoo, name) of ``timm:resnet18``; None of what is no target of a zoo.

    >>> split("timm:resnet18"), split("nets.py:small")
    (('timm', 'resnet18'), None)
    """
    zoo, colon, name = target.partition(":")
    return (zoo, name) if colon and zoo in ZOOS else None


def expand(target: str) -> list[str]:
    """The targets that a target with wildcards in its name stands for.

    Raises:
        UsageError: none, or the zoo cannot be imported.
    """
    found = split(target)
    if found is None or not any(character in found[1] for character in "*?["):
        return [target]
    zoo, pattern = found
    names = [name for name in _names(zoo) if fnmatch.fnmatchcase(name, pattern)]
    if not names:
        raise UsageError(f"{zoo} has no network {pattern}.", _listing(zoo))
    return [f"{zoo}:{name}" for name in names]


def build(zoo: str, name: str, n_classes: int) -> Any:
    """A network of a zoo with weights of its own initialisation.

    Raises:
        UsageError: there is none of that name, or the zoo cannot be imported.
    """
    names = _names(zoo)
    plain = name.partition(".")[0] if zoo == "timm" else name.lower()
    if plain not in names:
        close = difflib.get_close_matches(plain, names, n=1)
        hint = f"Did you mean {zoo}:{close[0]}?" if close else _listing(zoo)
        raise UsageError(f"{zoo} has no network {name!r}.", hint)
    if zoo == "timm":
        return import_zoo(zoo).create_model(
            name, pretrained=False, num_classes=n_classes
        )
    more = {"aux_logits": False, "init_weights": True} if plain in _AUXILIARY else {}
    return import_zoo(zoo).models.get_model(
        name, weights=None, num_classes=n_classes, **more
    )


def own_shape(network: nn.Module, target: str = "") -> tuple[int, ...] | None:
    """(C, H, W) of the images that a network is made for; None if it does not say.

    Args:
        network: of any origin.
        target: what it was named by.
    """
    about = getattr(network, "pretrained_cfg", None) or getattr(
        network, "default_cfg", None
    )
    shape = about.get("input_size") if isinstance(about, dict) else None
    if isinstance(shape, Sequence) and len(shape) == 3:
        return tuple(map(int, shape))
    side = getattr(network, "image_size", None)
    if isinstance(side, int):
        return 3, side, side
    found = split(target)
    if found is None or found[0] != "torchvision":
        return None
    side = _crop(found[1])
    return 3, side, side


def _crop(name: str) -> int:
    """Side of the images that torchvision's first weights were trained on."""
    if name.lower() == "inception_v3":
        return 299
    try:
        weights = next(iter(import_zoo("torchvision").models.get_model_weights(name)))
        return int(weights.transforms.keywords["crop_size"])
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        return 224


def _names(zoo: str) -> list[str]:
    if zoo == "timm":
        return list(import_zoo(zoo).list_models())
    models = import_zoo(zoo).models
    return list(models.list_models(module=models))


def _listing(zoo: str) -> str:
    call = "timm.list_models()" if zoo == "timm" else "torchvision.models.list_models()"
    return f"{call} names what there is."


def import_zoo(zoo: str) -> Any:
    """Import one of `ZOOS`.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        return _imported(zoo)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{zoo} cannot be imported: there is no module {error.name}.",
            "Install it: pip install 'zcbench[networks]'.",
        ) from error
    except Exception as error:  # such as a torchvision of another torch
        import torch

        reason = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
        raise UsageError(
            f"{zoo} cannot be imported: {reason}.",
            f"Install a torchvision that matches torch {torch.__version__}, both from "
            "the same index (https://pytorch.org/get-started).",
        ) from error


def _imported(zoo: str) -> ModuleType:
    """The zoo, also with a torchvision whose compiled part is for another torch.

    Such as PyPI's beside a torch for the CPU alone. Networks that classify need nothing
    of that part but that the operators exist which torchvision describes to torch.
    """
    try:
        return importlib.import_module(zoo)
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] in ZOOS]:
        del sys.modules[name]
    _define_operators()
    return importlib.import_module(zoo)


_LIBRARIES: list[object] = []
"""Operators go with what has defined them."""


def _define_operators() -> None:
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
