"""Errors that a user can act on.

Each carries one sentence on what happened and one on what to do, and the exit code
that the command line returns for it.
"""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Iterable


class ZcbenchError(Exception):
    """Base of every error that zcbench raises on purpose.

    Args:
        what: what happened, one sentence.
        hint: what to do about it, one sentence; may be empty.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        self.what = what
        self.hint = hint
        super().__init__(f"{what} {hint}".strip())

    def __reduce__(self) -> tuple[type[ZcbenchError], tuple[str, str]]:
        """Survive the trip from a worker process."""
        return type(self), (self.what, self.hint)


class UsageError(ZcbenchError):
    """The command or call asks for something that does not exist (exit code 2)."""

    exit_code = 2


class DataError(ZcbenchError):
    """Data is missing, unreadable or invalid (exit code 3)."""

    exit_code = 3


class AbsentDataError(DataError):
    """Data that the user has to bring are not there; nothing is broken."""


class InterruptedRunError(ZcbenchError):
    """Ctrl-C or a signal stopped it; what was done is kept."""

    exit_code = 130


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Error for an unknown name, with the nearest known ones.

    Args:
        kind: what the name should have been, such as ``"proxy"``.
        name: the name as given.
        known: the names that exist.

    Returns:
        A `UsageError` to raise.
    """
    names = sorted(known)
    by_fold = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.5)
    hint = f"Did you mean {by_fold[close[0]]}?" if close else ""
    if not hint:
        hint = f"Known: {', '.join(names)}." if names else "None is known."
    return UsageError(f"Unknown {kind} {name!r}.", hint)


class Undefined(Exception):
    """A proxy's definition yields no finite number for this network.

    Raised by proxies and passes; becomes the status ``undefined`` of the score.
    """


CHANGED = "the proxy changed "
"""How the message of a score begins whose proxy did more than return a number."""


def first_line(error: BaseException) -> str:
    """What an error says, as far as it fits into a table."""
    return (said(error).strip().splitlines() or [""])[0][:300]


_UNSEEN = re.compile(
    "[\0-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Controls of terminals and of the direction of text, half characters."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Text whose control characters are written out, for a terminal or page.

    Args:
        text: any.
        lines: whether it may have several lines.

    >>> visible("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    text = _UNSEEN.sub(lambda m: m[0].encode("unicode_escape").decode(), text)
    return text if lines else text.replace("\n", "\\n")


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "score"), count(2000, "score")
    ('1 score', '2,000 scores')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def said(error: BaseException) -> str:
    """Text of an error of others: it may have none, or one that is no text."""
    try:
        return str(error).encode(errors="replace").decode()
    except Exception as other:  # its __str__ may raise anything
        return f"(its text cannot be had: {type(other).__name__})"


def is_users(error: BaseException) -> bool:
    """Whether it is Ctrl-C; where that is ignored, as in workers, a plug-in made it."""
    deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return isinstance(error, KeyboardInterrupt) and not deaf


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says, or the one behind it.

    Torch has a type for it on devices, and words on a CPU.
    """
    signs = ("not enough memory", "can't allocate memory", "Cannot allocate memory")
    cause = error.__cause__
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(sign in said(error) for sign in signs)
        or (cause is not None and out_of_memory(cause))
    )
