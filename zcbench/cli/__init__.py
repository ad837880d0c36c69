"""The command line. Commands live one file each and are imported when they are used."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

import zcbench
from zcbench.errors import ZcbenchError, first_line, unknown, visible

_COMMANDS: dict[str, tuple[str, str, str]] = {
    # name: (module, attribute, summary)
    "run": ("run", "run", "Score architectures and print how the proxies rank them."),
    "report": ("report", "report", "Correlation tables of one or more runs."),
    "plot": ("plot", "plot", "Figures of one or more runs."),
    "compare": ("compare", "compare", "Compare a run with a baseline run."),
    "agree": ("agree", "agree", "Compare scores with those that others publish."),
    "predict": ("predict", "predict", "Predict accuracy from proxies and encodings."),
    "search": ("search", "search", "Simulate searches with and without proxies."),
    "oneshot": ("oneshot", "oneshot", "Score by the weights of one trained supernet."),
    "site": ("site", "site", "A leaderboard of pages from runs."),
    "list": ("catalogue", "list_names", "List proxies, spaces, datasets and more."),
    "show": ("catalogue", "show", "Explain one proxy."),
    "score": ("score", "score", "Score networks of your own."),
    "new": ("new", "new", "Write a plug-in to start from."),
    "check": ("check", "check", "Check a plug-in of your own."),
    "data": ("data", "data", "Fetch, import and verify images and ground truth."),
    "doctor": ("doctor", "doctor", "Check this installation."),
}
UNEXPECTED = "This should not happen"
"""How zcbench speaks of an error of its own."""
_UNREADABLE = 3
_CLOSED_PIPE = 141  # what a shell reports of a program that SIGPIPE ended


class LazyGroup(click.Group):
    """Group whose commands are imported when they are called.

    Its `main` turns errors into one line on stderr and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click
        """Commands whose file exists, in the order of a first session."""
        return [name for name in _COMMANDS if _exists(name)]

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click
        cmd_name: str,
    ) -> click.Command | None:
        """Command of that name, imported now."""
        if cmd_name not in _COMMANDS or not _exists(cmd_name):
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        file = importlib.import_module(f"zcbench.cli.{module}")
        command: click.Command = getattr(file, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown command suggests the nearest."""
        if args and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            if args[0] not in known:
                raise unknown("command", args[0], known)
        return super().resolve_command(ctx, args)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Summaries from the table above: help imports no command."""
        rows = [(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click; see `_ClosedPipe`."""
        with _closed_pipes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click; see `_ClosedPipe`."""
        with _closed_pipes():
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program and exit with its code."""
        # Torch takes large tensors in huge pages: a fifth less time (performance.md).
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

        def program() -> object:
            return super(LazyGroup, self).main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )

        if not standalone_mode:
            return program()
        try:
            sys.exit(exit_code_of(program))
        except Exception as error:  # of our own; 1 would mean a regression
            if os.environ.get("ZCBENCH_DEBUG"):
                raise
            _say(_unexpected(error))
            sys.exit(_UNREADABLE)


class _ClosedPipe(Exception):
    """Nobody reads on. Of a BrokenPipeError click would make the exit code 1."""


@contextlib.contextmanager
def _closed_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ClosedPipe from None


def exit_code_of(program: Callable[[], object]) -> int:
    """Run something and say its failures in one line on stderr.

    Returns:
        The exit code: 0, that of a `ZcbenchError`, 2 for a click error, 3 if files or
        memory fail, 130 if interrupted. ``ZCBENCH_DEBUG=1`` shows where errors come
        from.
    """
    try:
        result = program()
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("Interrupted.")
        return 130
    except (BrokenPipeError, _ClosedPipe):
        _let_go(sys.stdout)
        return _CLOSED_PIPE
    except (ZcbenchError, click.ClickException, OSError, MemoryError) as error:
        if os.environ.get("ZCBENCH_DEBUG"):
            traceback.print_exc()
        _say(_sentence(error))
        return getattr(error, "exit_code", _UNREADABLE)
    return result if isinstance(result, int) else 0


def _say(text: str) -> None:
    """One line on stderr, if that can be written."""
    try:
        click.echo(f"zcbench: {visible(text)}", err=True)
    except OSError:
        _let_go(sys.stderr)


def _let_go(stream: IO[str]) -> None:
    """What is buffered has nowhere to go; Python would complain of it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _sentence(error: Exception) -> str:
    """What has gone wrong, of errors that are expected."""
    if isinstance(error, click.ClickException):
        text = error.format_message().replace("\n", " ").strip()
        context = getattr(error, "ctx", None)
        if context is not None and "Did you mean" not in text:
            text += f" See {context.command_path} --help."
        return text
    if isinstance(error, OSError):
        if error.filename is None and error.errno == errno.ENOSPC:
            _let_go(sys.stdout)
        why = error.strerror or error
        if error.filename is None:
            return f"The output cannot be written: {why}."
        return f"{error.filename} cannot be read or written: {why}."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this."
    return str(error)


def _unexpected(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{UNEXPECTED}: {type(error).__name__} ({first_line(error)}) in "
        f"{Path(place.filename).name}, line {place.lineno}. Please report it; "
        "ZCBENCH_DEBUG=1 shows all."
    )


def _exists(command: str) -> bool:
    module = _COMMANDS[command][0]
    return importlib.util.find_spec(f"zcbench.cli.{module}") is not None


@click.group(
    cls=LazyGroup,
    no_args_is_help=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 88,
        "show_default": True,
    },
)
@click.version_option(zcbench.__version__, prog_name="zcbench")
def main() -> None:
    """Benchmark zero-cost NAS proxies against trained accuracies.

    \b
    Examples:
      zcbench run --space toy                      a run in seconds
      zcbench run --n 100 --out runs/first         NAS-Bench-201, three datasets
      zcbench report runs/first --format md        its table again
      zcbench list proxies
    """  # noqa: D301 - click wants \b itself
