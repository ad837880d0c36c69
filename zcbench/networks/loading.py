"""Networks of the user's own, by the name of what builds them."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError
from zcbench.networks import zoos
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

    It is called without arguments, but for ``num_classes`` or ``n_classes`` where it
    has such a parameter, as torchvision's and timm's do.

    Raises:
        UsageError: it fails, or gives no `torch.nn.Module`.
    """
    import torch

    named = zoos.split(target)
    if named is None:
        builder = find_builder(target)
        make = functools.partial(builder, **_arguments(builder, n_classes))
    else:
        make = functools.partial(zoos.build, *named, n_classes)
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


def check_network(network: nn.Module, x: Tensor, n_classes: int, target: str) -> None:
    """Make sure that a network takes the images and gives that many logits.

    Raises:
        UsageError: it does not.
    """
    import torch

    try:
        with torch.no_grad():
            logits = copy.deepcopy(network).eval()(x[:2])
    except Exception as error:
        shape = ",".join(map(str, x.shape[1:]))
        own = zoos.own_shape(network, target)
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


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error, or the one behind it, says."""
    import torch

    told = isinstance(error, MemoryError | torch.OutOfMemoryError)
    told = told or "not enough memory" in str(error)
    cause = error.__cause__
    return told or (cause is not None and out_of_memory(cause))


def failed(what: str, error: BaseException, hint: str) -> UsageError:
    """What code of others has raised, in a sentence, with a hint that fits."""
    text = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return UsageError(
        f"{what} raises {said}.", _MEMORY if out_of_memory(error) else hint
    )
