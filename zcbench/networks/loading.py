"""Networks of users, of timm and of torchvision, by the names of what builds them."""

from __future__ import annotations

import copy
import difflib
import fnmatch
import functools
import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError, out_of_memory
from zcbench.networks.targets import Target, parse_target
from zcbench.seeding import random_state

if TYPE_CHECKING:
    from torch import Tensor, nn

_EXAMPLE = (
    "Name it MODULE:CALLABLE, FILE.py:CALLABLE, timm:NAME or torchvision:NAME, such as "
    "timm:resnet18."
)
_CALL = (
    "A builder is called without arguments, but for num_classes; wrap it where it "
    "needs others."
)
_IMPORT = "Importing it in Python shows the whole error."
_MEMORY = "Lower --batch-size or --input."


def find_builder(target: str) -> Callable[..., Any]:
    """What ``"package.module:function"`` or ``"file.py:function"`` names.

    It is code, and importing it runs it. The current directory is looked in, too.

    Raises:
        UsageError: there is no such module or callable, or importing it fails.
    """
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise UsageError(f"{target!r} names no network.", _EXAMPLE)
    named: Any = _module(where)
    for part in name.split("."):
        if not hasattr(named, part):
            raise UsageError(f"{where} has no {name!r}.", _EXAMPLE)
        named = getattr(named, part)
    if not callable(named):
        kind = type(named).__name__
        raise UsageError(f"{target} is {kind}, not a callable.", _EXAMPLE)
    builder: Callable[..., Any] = named
    return builder


def _module(where: str) -> object:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where))
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and (where == error.name or where.startswith(f"{error.name}.")):
            raise UsageError(f"There is no module {where}.", _EXAMPLE) from None
        raise failed(f"Importing {where}", error, _IMPORT) from error
    except UsageError:
        raise
    except Exception as error:  # a module may raise anything
        raise failed(f"Importing {where}", error, _IMPORT) from error


def _from_file(path: Path) -> object:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.", _EXAMPLE)
    name = f"zcbench_network_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not Python.", _EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def build_network(target: str, n_classes: int, seed: int) -> nn.Module:
    """Call a builder with the random state of a seed.

    It is called with the target's arguments, and with ``num_classes`` or ``n_classes``
    where it has such a parameter, as torchvision's and timm's do.

    Raises:
        UsageError: it fails, or gives no `torch.nn.Module`.
    """
    import torch

    wanted = parse_target(target)
    named = split_zoo(wanted.name)
    if named is None:
        builder = find_builder(wanted.name)
        given = {**_arguments(builder, n_classes), **wanted.arguments}
        make = functools.partial(builder, **given)
    else:
        make = functools.partial(build_of_zoo, *named, n_classes, **wanted.arguments)
    try:
        with random_state(seed):
            network = make()
    except UsageError:
        raise
    except Exception as error:
        raise failed(target, error, _CALL) from error
    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{target} gives {type(network).__name__}, not a torch.nn.Module.", _EXAMPLE
        )
    return network


def _arguments(builder: Callable[..., Any], n_classes: int) -> dict[str, int]:
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return {}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {
        name: n_classes
        for name in ("num_classes", "n_classes")
        if name in parameters or (name == "num_classes" and takes_any)
    }


def check_network(network: nn.Module, x: Tensor, n_classes: int, target: str) -> float:
    """Make sure that a network takes the images and gives that many logits.

    Returns:
        Seconds that the forward of one image takes.

    Raises:
        UsageError: it does not.
    """
    import torch

    try:
        with torch.no_grad():
            copied = copy.deepcopy(network).eval()
            start = time.perf_counter()
            logits = copied(x[:2])
            seconds = (time.perf_counter() - start) / 2
    except Exception as error:
        shape = ",".join(map(str, x.shape[1:]))
        own = own_shape(network, target)
        hint = "Say the right --input, such as 3,224,224."
        if own is not None and own != tuple(x.shape[1:]):
            hint = f"Say --input {','.join(map(str, own))}."
        elif own is not None:
            hint = "Nothing of the command can help it: leave it out."
        raise failed(f"{target} on images of {shape}", error, hint) from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, n_classes):
        shown = type(logits).__name__
        if isinstance(logits, torch.Tensor):
            shown = f"a tensor of shape {list(logits.shape)}"
        raise UsageError(
            f"{target} gives {shown} for two images, not logits [2, {n_classes}].",
            "Say the right --classes, or wrap the network.",
        )
    return seconds


def failed(what: str, error: BaseException, hint: str) -> UsageError:
    """What code of others has raised, in a sentence, with a hint that fits."""
    text = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return UsageError(
        f"{what} raises {said}.", _MEMORY if out_of_memory(error) else hint
    )


ZOOS = ("timm", "torchvision")
"""What may stand before the colon of a target; both build without weights."""
_AUXILIARY = ("inception_v3", "googlenet")
"""In train mode these give more than logits, unless told not to."""


def split_zoo(target: str) -> tuple[str, str] | None:
    """(zoo, name) of ``timm:resnet18``; None of what is no target of a zoo.

    >>> split_zoo("timm:resnet18"), split_zoo("nets.py:small")
    (('timm', 'resnet18'), None)
    """
    zoo, colon, name = target.partition(":")
    return (zoo, name) if colon and zoo in ZOOS else None


def expand(target: str) -> list[str]:
    """The targets that a target with wildcards in its name stands for.

    Raises:
        UsageError: none, or the zoo cannot be imported.
    """
    wanted = parse_target(target)
    parts = split_zoo(wanted.name)
    if parts is None or not any(character in parts[1] for character in "*?["):
        return [str(wanted)]
    zoo, pattern = parts
    names = [name for name in _names(zoo) if fnmatch.fnmatchcase(name, pattern)]
    if not names:
        raise UsageError(f"{zoo} has no network {pattern}.", _listing(zoo))
    return [str(Target(f"{zoo}:{name}", wanted.arguments)) for name in names]


def build_of_zoo(zoo: str, name: str, n_classes: int, **settings: Any) -> Any:
    """A network of a zoo with weights of its own initialisation.

    Args:
        zoo: one of `ZOOS`.
        name: as the zoo calls it.
        n_classes: number of classes.
        **settings: what its builder takes besides.

    Raises:
        UsageError: there is none of that name, or the zoo cannot be imported.
    """
    names = _names(zoo)
    plain = name.partition(".")[0] if zoo == "timm" else name.lower()
    if plain not in names:
        close = difflib.get_close_matches(plain, names, n=1)
        hint = f"Did you mean {zoo}:{close[0]}?" if close else _listing(zoo)
        raise UsageError(f"{zoo} has no network {name!r}.", hint)
    settings = {"num_classes": n_classes, **settings}
    if zoo == "timm":
        settings |= {"pretrained": False}
        return import_zoo(zoo).create_model(name, **settings)
    if plain in _AUXILIARY:
        settings |= {"aux_logits": False, "init_weights": True}
    settings |= {"weights": None}
    return import_zoo(zoo).models.get_model(name, **settings)


def own_shape(network: nn.Module, target: str = "") -> tuple[int, ...] | None:
    """(C, H, W) of the images that a network is made for; None if it does not say.

    Args:
        network: of any origin.
        target: what it was named by.
    """
    wanted = parse_target(target)
    if wanted.input_shape is not None:
        return wanted.input_shape
    about = getattr(network, "pretrained_cfg", None) or getattr(
        network, "default_cfg", None
    )
    shape = about.get("input_size") if isinstance(about, dict) else None
    if isinstance(shape, Sequence) and len(shape) == 3:
        return tuple(map(int, shape))
    side = getattr(network, "image_size", None)
    if isinstance(side, int):
        return 3, side, side
    parts = split_zoo(wanted.name)
    if parts is None or parts[0] != "torchvision":
        return None
    side = _crop(parts[1])
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
