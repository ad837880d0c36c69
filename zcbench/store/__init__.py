"""The run directory: ``manifest.json`` and ``scores.jsonl``.

One line per (architecture, dataset, repeat), appended as soon as it is known. A run
that is resumed with more proxies adds further lines with the same key; reading merges
them, proxy by proxy, the later line winning. A last line without its newline is what a
power cut leaves: it is dropped.
"""

from zcbench.store.directory import (
    ARCHS,
    MANIFEST,
    ONESHOT,
    SCHEMA,
    UNSIGNED,
    is_empty,
    load_run,
    read_manifest,
)
from zcbench.store.records import SCORES, Key, Record, merge, read_done, read_records
from zcbench.store.writer import RunStore

__all__ = [
    "ARCHS",
    "MANIFEST",
    "ONESHOT",
    "SCHEMA",
    "SCORES",
    "UNSIGNED",
    "Key",
    "Record",
    "RunStore",
    "is_empty",
    "load_run",
    "merge",
    "read_done",
    "read_manifest",
    "read_records",
]
