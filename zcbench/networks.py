"""Networks of the user's own, by the name of what builds them."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

_EXAMPLE = (
    "Name it MODULE:CALLABLE or FILE.py:CALLABLE, such as torchvision.models:vgg11."
)


def find_builder(target: str) -> Callable[..., Any]:
    """What ``"package.module:function"`` or ``"file.py:function"`` names.

    It is code, and importing it runs it. The current directory is looked in, too.

    Raises:
        UsageError: there is no such module or callable, or importing it fails.
    """
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise UsageError(f"{target!r} names no network.", _EXAMPLE)
    found: Any = _module(where)
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{where} has no {name!r}.", _EXAMPLE)
        found = getattr(found, part)
    if not callable(found):
        kind = type(found).__name__
        raise UsageError(f"{target} is {kind}, not a callable.", _EXAMPLE)
    builder: Callable[..., Any] = found
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
        raise _failed(f"Importing {where}", error) from error
    except UsageError:
        raise
    except Exception as error:  # a module may raise anything
        raise _failed(f"Importing {where}", error) from error


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

    builder = find_builder(target)
    arguments = {}
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    for name in ("num_classes", "n_classes"):
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        if name in parameters or (name == "num_classes" and takes_any):
            arguments[name] = n_classes
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = builder(**arguments)
    except Exception as error:
        raise _failed(f"{target}", error) from error
    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{target} gives {type(network).__name__}, not a torch.nn.Module.", _EXAMPLE
        )
    return network


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
        raise _failed(f"{target} on images of {shape}", error) from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (2, n_classes):
        shown = type(logits).__name__
        if isinstance(logits, torch.Tensor):
            shown = f"a tensor of shape {list(logits.shape)}"
        raise UsageError(
            f"{target} gives {shown} for two images, not logits [2, {n_classes}].",
            "Say the right --classes, or wrap the network.",
        )


def _failed(what: str, error: Exception) -> UsageError:
    text = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    return UsageError(f"{what} raises {type(error).__name__}: {text}.", _EXAMPLE)
