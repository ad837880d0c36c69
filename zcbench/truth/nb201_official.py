"""The official NAS-Bench-201 file, imported once into a compact table in the cache.

The table has, for each dataset, validation and test accuracy of each training seed
after 200 and 12 epochs, as `nas_201_api` holds them.

The file is one pickle of some gigabytes, read here as plain data and without torch.
`torch.load` refuses it or runs whatever it names; with ``weights_only=True`` it reads
it in Python code, ten times as slowly as this, which is as strict.
"""

from __future__ import annotations

import gc
import hashlib
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zcbench.errors import DataError
from zcbench.files import opened, reason
from zcbench.pickles import CONTAINERS_AND_NUMBERS, read_plain
from zcbench.truth import TARGETS, Truth
from zcbench.truth.imported import SOURCES, Imported, Record

if TYPE_CHECKING:
    import pandas as pd

_EPOCHS = {"full": "", "less": "_12"}
_KEYS = ("meta_archs", "arch2infos", "evaluated_indexes")
_OFFICIAL = "The official file is NAS-Bench-201-v1_1-096897.pth."

_SEED = re.compile(r"_seed\d+$")
_ACCURACY = re.compile(r"_(val|test)(_12)?_seed\d+$")

Row = dict[str, Any]


TABLE = Imported(
    "nas-bench-201",
    "The official NAS-Bench-201 file was not imported here.",
    "Import it once: zcbench data import NAS-Bench-201-v1_1-096897.pth.",
    "Import the official file again: zcbench data import FILE.",
)


def import_official(file: Path) -> Record:
    """Write the table of an official file into the cache.

    Args:
        file: the official file, v1.0 or v1.1. Nothing in it is run.

    Returns:
        The record that lies beside the table.

    Raises:
        DataError: the file is not the official one, is damaged or holds impossible
            numbers; or the cache cannot be written.
    """
    digest = _sha256_of(file)
    with without_collection():
        table, seeds = _compact(read_saved(file), file)
    version = "1.1" if "cifar100_test_12_seed0" in table else "1.0"
    return TABLE.write(
        table,
        source=file.name,
        source_sha256=digest,
        release=f"NAS-Bench-201 v{version}",
        seeds=seeds,
    )


def load(dataset: str) -> pd.DataFrame:
    """Table with ``val``, ``test``, ``val_12``, ``test_12`` and their seeds.

    Args:
        dataset: ``"cifar10"``, ``"cifar100"`` or ``"ImageNet16-120"``.

    Returns:
        One row per architecture that the official file evaluates.

    Raises:
        DataError: no official file was imported, or the table was changed since.
    """
    table, record = TABLE.load(dataset)
    table.attrs = {
        "truth": TRUTH.name,
        "release": f"{record.release}, 200 epochs",
        "digest": record.source_sha256,
        "table_digest": record.table_sha256,
        "training_seeds": record.seeds,
        # Half-trained accuracies are methods of their own: early stopping.
        "epochs": {"val": 200, "test": 200, "val_12": 12, "test_12": 12},
    }
    return table


TRUTH = Truth(
    "nas-bench-201",
    "nb201",
    "official file, imported once: validation and test accuracy, 200 and 12 epochs",
    load,
)


def _sha256_of(file: Path) -> str:
    try:
        with opened(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}.", _OFFICIAL) from None


def _compact(content: object, file: Path) -> tuple[pd.DataFrame, list[int]]:
    """The table, and the benchmark's training seeds in the order of its columns."""
    import pandas as pd

    if not isinstance(content, dict) or not set(_KEYS) <= set(content):
        raise DataError(f"{file} does not hold NAS-Bench-201.", _OFFICIAL)
    seeds: set[int] = set()
    try:
        rows = list(_rows(content, seeds))
    except DataError as error:
        raise DataError(f"In {file}, {error.what}", _OFFICIAL) from None
    except Exception as error:  # foreign structures can fail anywhere
        raise DataError(
            f"{file} does not have the structure of NAS-Bench-201 "
            f"({type(error).__name__}: {error}).",
            _OFFICIAL,
        ) from None
    order = sorted(seeds)
    table = pd.DataFrame(rows, columns=["arch", "index", *_columns(order)])
    _check(table, file)
    places = {f"_seed{seed}": f"_seed{place}" for place, seed in enumerate(order)}
    table = table.dropna(axis="columns", how="all").rename(
        columns=lambda name: _SEED.sub(lambda match: places[match[0]], name)
    )
    return table.sort_values("index", ignore_index=True), order


def _columns(seeds: list[int]) -> Iterator[str]:
    for dataset in SOURCES:
        labels = [f"{t}{suffix}" for suffix in _EPOCHS.values() for t in TARGETS]
        for label in (*labels, "stored_params"):
            yield from (f"{dataset}_{label}_seed{seed}" for seed in seeds)
        yield f"{dataset}_latency"


def _rows(content: dict[str, Any], seeds: set[int]) -> Iterator[Row]:
    """One row an architecture, columns with the benchmark's own seed numbers.

    Empties ``arch2infos`` on the way, for it holds whole training curves, and collects
    the seeds that it meets.
    """
    from nas_201_api import ArchResults

    from zcbench.spaces import load_space

    space = load_space("nb201")
    for position in sorted(content["evaluated_indexes"]):
        arch = space.parse(content["meta_archs"][position])
        row: Row = {"arch": arch.spec, "index": arch.index}
        infos = content["arch2infos"].pop(position)
        for kind, suffix in _EPOCHS.items():
            results = ArchResults.create_from_state_dict(infos[kind])
            if results.arch_str != arch.spec:
                raise DataError(f"architecture {position} has results of another.")
            for dataset, sources in SOURCES.items():
                for target, source in sources.items():
                    by_seed = _accuracies(results, *source)
                    seeds |= set(by_seed)
                    for seed, accuracy in by_seed.items():
                        row[f"{dataset}_{target}{suffix}_seed{seed}"] = accuracy
                if kind == "full":
                    row |= _costs(results, dataset)
        yield row


def _accuracies(results: Any, trained_on: str, evaluated_on: str) -> dict[int, float]:
    """Training seed → accuracy in percent after the last epoch.

    `ResultsCount.get_eval` would also add up times, which some trainings lack.
    """
    return {
        int(seed): float(trial.eval_acc1es[f"{evaluated_on}@{trial.epochs - 1}"])
        for seed, trial in _trials(results, trained_on).items()
        if evaluated_on in trial.eval_names
    }


def _costs(results: Any, dataset: str) -> Row:
    """Stored #params of each training, and the mean latency in seconds."""
    trials = _trials(results, dataset)
    row: Row = {
        f"{dataset}_stored_params_seed{int(seed)}": round(trial.params * 1e6)
        for seed, trial in trials.items()
    }
    latencies = [trial.get_latency() for trial in trials.values()]
    known = [latency for latency in latencies if latency > 0]
    if known:
        row[f"{dataset}_latency"] = sum(known) / len(known)
    return row


def _trials(results: Any, trained_on: str) -> Mapping[Any, Any]:
    if trained_on not in results.get_dataset_names():
        return {}
    trials: Mapping[Any, Any] = results.query(trained_on)
    return trials


def _check(table: pd.DataFrame, file: Path) -> None:
    """Every architecture once, with accuracies that can be."""
    twice = table["index"].duplicated()
    if twice.any():
        raise DataError(
            f"{file}: {twice.sum():,} of {len(table):,} architectures repeat another; "
            f"the first is {table['arch'][twice].iloc[0]}.",
            _OFFICIAL,
        )
    accuracies = table[[c for c in table if _ACCURACY.search(c)]].astype("float64")
    bad = accuracies.notna() & ~((accuracies >= 0) & (accuracies <= 100))
    if bad.to_numpy().any():
        row, column = (place[0] for place in bad.to_numpy().nonzero())
        raise DataError(
            f"{file}: {bad.to_numpy().sum():,} accuracies are outside 0 to 100; the "
            f"first is {accuracies.iloc[row, column]:g} for {table['arch'][row]}.",
            _OFFICIAL,
        )
    full = accuracies[[c for c in accuracies if "_12_" not in c]]
    if not full.notna().to_numpy().any():
        raise DataError(f"{file} has no accuracies after 200 epochs.", _OFFICIAL)


_OLD_MAGIC = 0x1950A86A20F9469CFC6C  # first of the four pickles of the old format
_GIVE = "Give the official file, such as NAS-Bench-201-v1_1-096897.pth."


def read_saved(path: Path) -> object:
    """The object in a file of `torch.save`, in either of its formats.

    Raises:
        DataError: it is missing, unreadable, not of that kind, or names anything but
            containers and numbers; or the memory does not suffice.
    """
    try:
        with opened(path) as stream:
            if zipfile.is_zipfile(stream):
                return _read_zip(stream, path)
            stream.seek(0)
            return _read_old(stream, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.", _GIVE) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {error}.", "Copy it again.") from None
    except MemoryError:
        raise DataError(
            f"There is not enough memory to read {path}.",
            "The official file needs about 30 GB, once.",
        ) from None


def _read_zip(stream: IO[bytes], path: Path) -> object:
    with zipfile.ZipFile(stream) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        stored = all(
            archive.getinfo(n).compress_type == zipfile.ZIP_STORED for n in names
        )
        if len(names) != 1 or not stored:  # compressed, it could unpack to anything
            raise DataError(f"{path} was not written by torch.save.", _GIVE)
        with archive.open(names[0]) as member:
            return read_plain(member, str(path), _GIVE, CONTAINERS_AND_NUMBERS)


def _read_old(stream: IO[bytes], path: Path) -> object:
    """Magic number, version, byte sizes, then the object itself."""
    if read_plain(stream, str(path), _GIVE) != _OLD_MAGIC:
        raise DataError(f"{path} was not written by torch.save.", _GIVE)
    for _ in ("version", "sizes"):
        read_plain(stream, str(path), _GIVE)
    return read_plain(stream, str(path), _GIVE, CONTAINERS_AND_NUMBERS)


@contextmanager
def without_collection() -> Iterator[None]:
    """Spare the search for cycles among millions of objects that form none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
