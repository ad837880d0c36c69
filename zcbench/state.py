"""State that all code of a process shares, and that code of others may change.

Guests, the plug-ins that others wrote, run between a look at it and another; what they
leave changed is restored and named. This file does not import torch: where it is not
loaded, it has no state.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from typing import Any
from unittest.mock import patch

from zcbench.errors import UsageError

Part = tuple[Callable[[], Any], Callable[[Any], object]]
"""How a part of the state is read, and how it is set to what was read."""

_FLAGS: Mapping[str, str] = {
    "torch.backends.cudnn": "enabled benchmark deterministic allow_tf32 fp32_precision",
    "torch.backends.cuda.matmul": "allow_tf32 allow_fp16_reduced_precision_reduction "
    "allow_bf16_reduced_precision_reduction fp32_precision",
    "torch.backends.mkldnn": "enabled deterministic allow_tf32 fp32_precision",
    "torch.backends.mkldnn.matmul": "fp32_precision",
    "torch.backends.mkldnn.conv": "fp32_precision",
    "torch.backends": "fp32_precision",
    "torch.backends.opt_einsum": "enabled strategy",
}
"""Object → its attributes that decide how torch calculates; some releases lack some."""
_MODULES_OWN = ("the warnings filters", "os.environ", "the recursion limit")
"""What importing a module may change."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM")


@contextmanager
def restored(*, lenient: bool = False) -> Iterator[list[str]]:
    """Restore at the end what was changed; the list then names it.

    Args:
        lenient: leave alone what modules may change for good when they are imported.

    Raises:
        UsageError: if lenient, something else cannot be restored.
    """
    changed: list[str] = []
    before = look()
    if lenient:
        before = {k: v for k, v in before.items() if k not in _MODULES_OWN}
    modules = dict(sys.modules)
    forks: list[int] = []
    try:
        with redirect_stdout(sys.stderr), _forks_in(forks):  # stdout is for results
            yield changed
    finally:
        if gone := modules.keys() - sys.modules.keys():
            sys.modules.update({name: modules[name] for name in gone})
            changed.append("sys.modules")
        excused = _MODULES_OWN if sys.modules.keys() - modules.keys() else ()
        changed += [name for name in restore(before) if name not in excused]
        if sum(map(_is_left, forks)):
            changed.append("the processes (a fork of it is still there)")
    if lenient and (left := restore(before)):
        raise UsageError(f"It changes {' and '.join(left)} for good.", "Correct it.")


@contextmanager
def _forks_in(forks: list[int]) -> Iterator[None]:
    """Note the processes that Python forks."""
    fork = getattr(os, "fork", None)

    def noted() -> int:
        pid: int = fork()  # type: ignore[misc]
        forks.append(pid)
        return pid

    if fork is None:
        yield
        return
    with patch.object(os, "fork", noted):
        yield


def _is_left(fork: int) -> bool:
    """Whether nobody has waited for a fork; then it is ended."""
    try:
        if os.waitpid(fork, os.WNOHANG)[0] == 0:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)
    except ChildProcessError:
        return False
    return True


def look() -> dict[str, Any]:
    """The state: part → what it is now."""
    return {name: read() for name, (read, _) in _parts().items()}


def restore(before: Mapping[str, Any]) -> list[str]:
    """Set the parts that differ from an earlier `look`; returns their names."""
    parts, changed = _parts(), []
    for name, value in before.items():
        read, write = parts[name]
        if read() != value:
            changed.append(name)
            with suppress(Exception):  # what cannot be restored shows at the next look
                write(value)
    return changed


def _parts() -> dict[str, Part]:
    parts = dict(_PYTHON)
    if numpy := sys.modules.get("numpy"):
        parts["numpy's error state"] = numpy.geterr, lambda v: numpy.seterr(**v)
    if torch := sys.modules.get("torch"):
        if not _TORCH:
            _TORCH.update(_of_torch(torch))
        parts |= _TORCH
    return parts


def _modes_of(torch: Any) -> dict[str, Part]:
    """Modes that see or change every call of torch; they lie in stacks."""
    from torch.overrides import _get_current_function_mode_stack as functions
    from torch.utils import _python_dispatch as dispatch

    core = torch._C

    def modes(stack: Callable[[], Any], push: Any, pop: Any) -> Part:
        def write(before: tuple[Any, ...]) -> None:
            while stack():
                pop()
            for mode in before:
                push(mode)

        return lambda: tuple(stack()), write

    return {
        "torch's function modes": modes(
            functions,
            core._push_on_torch_function_stack,
            core._pop_torch_function_stack,
        ),
        "torch's dispatch modes": modes(
            dispatch._get_current_dispatch_mode_stack,
            dispatch._push_mode,
            dispatch._pop_mode,
        ),
    }


# Over 40 lines: one part of the state after the other, each once.
def _of_torch(torch: Any) -> dict[str, Part]:
    context = torch._GLOBAL_DEVICE_CONTEXT
    return {
        "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "torch's default device": (
            lambda: getattr(context, "device_context", None),
            lambda mode: torch.set_default_device(mode and mode.device),
        ),
        **_modes_of(torch),
        "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
        "torch's deterministic algorithms": (
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda v: torch.use_deterministic_algorithms(v[0], warn_only=v[1]),
        ),
        # The callers' own inference mode ends what a guest began.
        "torch's inference mode": (torch.is_inference_mode_enabled, lambda _: None),
        "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
        "torch's anomaly detection": (
            torch.is_anomaly_enabled,
            torch.autograd.set_detect_anomaly,
        ),
        "torch's autocast": (
            lambda: [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
            lambda v: [
                torch.set_autocast_enabled(kind, on)
                for kind, on in zip(("cpu", "cuda"), v, strict=True)
            ],
        ),
        "how torch treats denormal numbers": (
            lambda: sys.float_info.min / 2 == 0,
            torch.set_flush_denormal,
        ),
        "torch's precision of matrix products": (
            lambda: _tried(torch.get_float32_matmul_precision),
            torch.set_float32_matmul_precision,
        ),
        **{
            f"{place}.{name}": _flag(place, name)
            for place, names in _FLAGS.items()
            for name in names.split()
        },
        **_stacked(torch),
    }


def _stacked(torch: Any) -> dict[str, Part]:
    """Hooks on all modules and tensors, and transformations that were begun."""
    forward_ad: Any = import_module("torch.autograd.forward_ad")
    module, saved = torch.nn.modules.module, torch._C._autograd
    functorch = torch._C._functorch
    hooks = [
        value
        for name, value in vars(module).items()
        if name.startswith("_global_") and isinstance(value, dict)
    ]

    def get_hooks() -> list[Any]:
        return [*map(dict, hooks), module._global_is_full_backward_hook]

    def set_hooks(before: list[Any]) -> None:
        *of_hooks, module._global_is_full_backward_hook = before
        for now, then in zip(hooks, of_hooks, strict=True):
            now.clear()
            now.update(then)

    def top() -> Any:
        return saved._top_saved_tensors_default_hooks(True)

    def pop_saved(before: Any) -> None:
        while top() not in (before, None):
            saved._pop_saved_tensors_default_hooks()

    def leave(before: int) -> None:
        while forward_ad._current_level > before:
            forward_ad.exit_dual_level()

    return {
        "torch's hooks of all modules": (get_hooks, set_hooks),
        "torch's hooks of saved tensors": (top, pop_saved),
        "torch's forward differentiation": (lambda: forward_ad._current_level, leave),
        "torch's transformations": (
            functorch.get_dynamic_layer_stack_depth,
            functorch.pop_dynamic_layer_stack_and_undo_to_depth,
        ),
    }


def _flag(place: str, name: str) -> Part:
    module, _, attribute = place.rpartition(".")
    owner = getattr(import_module(module), attribute, None)
    return lambda: _tried(lambda: getattr(owner, name)), lambda v: setattr(
        owner, name, v
    )


def _tried(read: Callable[[], Any]) -> Any:
    """What is read; what is said where torch refuses, as after both its interfaces."""
    try:
        return read()
    except (RuntimeError, AttributeError) as error:
        return str(error)


def streams() -> list[Any]:
    """Python's streams, and which files they go to."""
    found: list[Any] = []
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        try:
            file = os.fstat(number)
            place = file.st_dev, file.st_ino
        except OSError:
            place = None
        found += [stream, getattr(stream, "closed", True), place]
    return found


def _set_streams(before: list[Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before[::3]


def _handlers() -> list[Any]:
    found = [
        signal.getsignal(getattr(signal, n)) for n in _SIGNALS if hasattr(signal, n)
    ]
    timer = getattr(signal, "getitimer", lambda _: (0.0,))
    return [*found, timer(getattr(signal, "ITIMER_REAL", 0))[0] > 0]


def _set_handlers(before: list[Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    if not before[-1] and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    names = [name for name in _SIGNALS if hasattr(signal, name)]
    for name, handler in zip(names, before, strict=False):
        if handler is not None:
            signal.signal(getattr(signal, name), handler)


def _set_filters(before: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters[:] = before  # type: ignore[index]


def _set_environment(before: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - of os, which has it at once
    except OSError:
        return ""


_PYTHON: Mapping[str, Part] = {
    "the streams": (streams, _set_streams),
    "the signal handlers or the alarm": (_handlers, _set_handlers),
    "the current folder": (_folder, os.chdir),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "the warnings filters": (lambda: list(warnings.filters), _set_filters),
    "os.environ": (lambda: dict(os.environ), _set_environment),
}
_TORCH: dict[str, Part] = {}
