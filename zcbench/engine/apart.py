"""Processes of their own for what may end or hang: a death is told, not shared.

Those of guests are forked from one process that has imported torch and calculated
nothing: they start in milliseconds, where a spawned one takes a second or more.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from zcbench.errors import ZcbenchError

_PRELOADED = (
    "numpy.fft",
    "zcbench.engine.executors.processes",
    "zcbench.engine.self_check.finding",
    "zcbench.evaluate",
    "zcbench.evidence.minibatch_pass",
    "zcbench.evidence.structure",
    "zcbench.minibatch.builtin",
    "zcbench.networks.cell",
)
_CUT_OFF = 113
"""Exit code of a process whose pipe was closed under it."""


@dataclass(frozen=True, slots=True)
class Death:
    """What is left of a process.

    Attributes:
        exit_code: negative ones are signals; None if it was ended from here.
        limit: the seconds that it took longer than, if that is why.
        starved: whether it was killed while memory was short.
    """

    exit_code: int | None
    limit: float | None = None
    starved: bool = False

    def __str__(self) -> str:
        if self.limit is not None:
            return f"took longer than {self.limit:g} s"
        if self.starved:
            return "was killed, as when memory runs out"
        if self.exit_code in (None, _CUT_OFF):
            return "closed the files of its process"
        if self.exit_code < 0:
            with suppress(ValueError):
                return f"was ended by {signal.Signals(-self.exit_code).name}"
        return f"ended the process with exit code {self.exit_code}"


class Worker:
    """A process with a pipe, over which it sends pairs (kind, what).

    ``("begin", None)`` starts its clock anew; ``("failed", error)`` is raised here.

    Args:
        serve: what it does; gets its end of the pipe and the arguments. Importable.
        arguments: further ones.
        guests: whether it calls code of others.
        limit: seconds between a beginning and the next word; None for no limit.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        *arguments: object,
        guests: bool = False,
        limit: float | None = None,
    ) -> None:
        context: Any = multiprocessing.get_context("spawn")  # fork and torch do not mix
        if guests and "forkserver" in multiprocessing.get_all_start_methods():
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(list(_PRELOADED))
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve,
            args=(theirs, dict(os.environ), serve, arguments),
            daemon=not guests,  # which may have children of their own
            name="zcbench-worker",
        )
        self.limit, self._since = limit, float("inf")
        self._kills = _kills_for_memory()
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()  # so that its death ends the pipe

    @property
    def left(self) -> float | None:
        """Seconds that it has left to say something; None without a limit."""
        if self.limit is None or self._since == float("inf"):
            return None
        return max(0.0, self._since + self.limit - time.monotonic())

    def give(self, work: object) -> None:
        """Send it something."""
        with suppress(OSError):  # it died; reading from the pipe will say so
            self.connection.send(work)

    def hear(self) -> tuple[str, Any]:
        """Its next word; ``("died", Death)`` if it is dead, or its time is up.

        Ask those that `wait_for` names.
        """
        try:
            if not self.connection.poll(0):
                return "died", self._death(self.left == 0.0)
            kind, what = self.connection.recv()
        except Exception:  # the end of the pipe, or what no worker of ours sends
            return "died", self._death(slow=False)
        self._since = time.monotonic() if kind == "begin" else float("inf")
        if kind == "failed":
            raise what
        return kind, what

    def _death(self, slow: bool) -> Death:
        """What it died of; ends what is left of it."""
        if not slow:
            self.process.join(timeout=5)
        code = self.process.exitcode
        self.stop()
        if slow:
            return Death(None, self.limit)
        starved = code == -signal.SIGKILL and _kills_for_memory() > self._kills
        return Death(code, starved=starved)

    def stop(self) -> None:
        """End it and what it has started."""
        pid = self.process.pid
        if pid and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


W = TypeVar("W", bound=Worker)


def wait_for(workers: Sequence[W]) -> list[W]:
    """Those that have said something, have died or have no time left; at least one."""
    while True:
        there = [w.connection for w in workers] + [w.process.sentinel for w in workers]
        left = [w.left for w in workers if w.left is not None]
        ready = wait(there, min(left, default=None))
        some = [
            w
            for w in workers
            if w.connection in ready or w.process.sentinel in ready or w.left == 0.0
        ]
        if some:
            return some


def call_apart(function: Callable[..., Any], *arguments: object, limit: float) -> Any:
    """Result of a function in a process of its own, or its `Death`.

    Args:
        function: importable; gets the arguments, and as ``begin`` what to call when
            something begins that may take as long as the limit.
        arguments: what can be pickled.
        limit: seconds.

    Raises:
        ZcbenchError: as the function does.
    """
    worker = Worker(_call, function, arguments, guests=True, limit=limit)
    begun = False
    try:
        while True:
            wait_for([worker])
            kind, what = worker.hear()
            if kind == "died" and not begun:
                raise cannot_start(what)
            if kind not in ("ready", "begin"):
                return what
            begun = True
    finally:
        with suppress(ValueError):  # it is closed already
            worker.stop()


def cannot_start(death: Death) -> ZcbenchError:
    """Error of a process that died before it began with anything."""
    return ZcbenchError(
        f"Worker processes cannot start (exit code {death.exit_code}).",
        "Use one worker (--workers 1), and in a script call zcbench.run under "
        "`if __name__ == '__main__':`.",
    )


def _call(
    connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    def begin() -> None:
        connection.send(("begin", None))

    connection.send(("ready", None))
    connection.send(("done", function(*arguments, begin=begin)))


def _serve(
    connection: Connection,
    environment: Mapping[str, str],
    serve: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """What a process does: what it prints goes to stderr, Ctrl-C is for its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    if hasattr(os, "setsid"):
        os.setsid()  # so that what it starts ends with it
    with suppress(OSError), Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
    own = os.getpid()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        serve(connection, *arguments)
    except EOFError:
        return
    except Exception as error:
        ours = RuntimeError(traceback.format_exc())  # a fault that the parent shows
        try:
            connection.send(
                ("failed", error if isinstance(error, ZcbenchError) else ours)
            )
        except OSError:
            os._exit(_CUT_OFF)
    except BaseException:  # of a guest
        os._exit(1)
    finally:
        if os.getpid() != own:  # a fork that came back is no second worker
            os._exit(0)


def _die_with_parent() -> None:
    """End when the parent is gone, however it went: nobody else would tell us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C here; a process started meanwhile stays deaf, this one does not."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kills_for_memory() -> int:
    """Processes that Linux has killed so far because memory ran out."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
        return int(next(line[9:] for line in lines if line.startswith("oom_kill ")))
    return 0
