"""Named things that plug-ins can add to: proxies, spaces, truths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Generic, TypeVar

from zcbench.errors import UsageError, first_line, is_users, unknown
from zcbench.names import split_names
from zcbench.state import restored

T = TypeVar("T")


class Registry(Generic[T]):
    """Names, aliases and what they stand for, in order of registration.

    Args:
        kind: what it holds, for messages: ``"proxy"``.
        group: entry-point group that installed plug-ins use; read at first use.
        builtins: imports the built-in entries, which register themselves.
        sets: names that stand for all entries with a property; ``"all"`` needs none.
        variant: makes an entry with other parameters, of an entry and what stands
            behind its name: ``"[mu=1]"``; raises `UsageError`.

    Attributes:
        broken: one line for each installed plug-in that failed to load.
        installed: names that installed plug-ins have added.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        builtins: Callable[[], object],
        sets: Mapping[str, Callable[[T], bool]] = MappingProxyType({}),
        variant: Callable[[T, str], T] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.broken: list[str] = []
        self.installed: set[str] = set()
        self._builtins: Callable[[], object] | None = builtins
        self._variant = variant
        self._sets = {"all": lambda _: True, **sets}
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, entry: T, aliases: Iterable[str] = ()) -> None:
        """Register an entry.

        Raises:
            UsageError: a name or alias is taken.
        """
        self._load()
        for taken in (name, *aliases):
            if taken in {*self._entries, *self._aliases, *self._sets}:
                raise UsageError(
                    f"The {self.kind} name {taken!r} is already taken.",
                    "Rename the one in the plug-in.",
                )
        self._entries[name] = entry
        self._aliases.update(dict.fromkeys(aliases, name))

    def names(self) -> list[str]:
        """All names, aliases left out, in order of registration."""
        self._load()
        return list(self._entries)

    def canonical(self, name: str) -> str:
        """The name that an alias stands for; any other as it is."""
        self._load()
        base, bracket, rest = name.partition("[")
        return f"{self._aliases.get(base, base)}{bracket}{rest}"

    def get(self, name: str) -> T:
        """Entry of that name or alias, with parameters if the name has some.

        Raises:
            UsageError: there is none; the message suggests the nearest.
        """
        base, bracket, parameters = self.canonical(name).partition("[")
        if base not in self._entries or (bracket and self._variant is None):
            raise unknown(self.kind, name, [*self._entries, *self._aliases])
        entry = self._entries[base]
        if self._variant is None or not bracket:
            return entry
        return self._variant(entry, bracket + parameters)

    def remove(self, name: str) -> None:
        """Take an entry and its aliases out again (plug-ins under test)."""
        del self._entries[name]
        self._aliases = {a: n for a, n in self._aliases.items() if n != name}

    def select(self, wanted: str | Iterable[str]) -> list[T]:
        """Entries for ``"all"``, ``"a,b"`` or a list of names and sets, no repeats.

        Raises:
            UsageError: a name is unknown, or nothing is named.
        """
        parts = [wanted] if isinstance(wanted, str) else list(wanted)
        names = [name for part in parts for name in split_names(part)]
        if not names:
            raise UsageError(f"No {self.kind} is named.", "Name some, or say all.")
        entries = [entry for name in names for entry in self._meant(name)]
        return [e for n, e in enumerate(entries) if e not in entries[:n]]

    def _meant(self, name: str) -> list[T]:
        if name not in self._sets:
            return [self.get(name)]
        self._load()
        return [entry for entry in self._entries.values() if self._sets[name](entry)]

    def _load(self) -> None:
        """Import built-ins, then installed plug-ins, once."""
        if self._builtins is None:
            return
        builtins, self._builtins = self._builtins, None
        builtins()
        own = set(self._entries)
        for point in entry_points(group=self.group):
            try:
                with restored(lenient=True):
                    point.load()
            except BaseException as error:  # a plug-in may raise anything
                if is_users(error):
                    raise
                why = first_line(error) or type(error).__name__
                self.broken.append(
                    f"{self.kind} plug-in {point.name!r} ({point.value}): {why}"
                )
        self.installed = set(self._entries) - own
