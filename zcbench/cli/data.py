"""`zcbench data`: images and ground truth in the cache."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from zcbench.errors import DataError, ZcbenchError, visible
from zcbench.files import opened, reason


class ChangedDataError(ZcbenchError):
    """A file of the cache is not what it was when it was put there."""


@click.group(short_help="Fetch, import and verify images and ground truth.")
def data() -> None:
    """Images and ground truth in the cache.

    Everything works without any of it; real images and the official benchmark file
    replace what is built in. The environment variable ZCBENCH_CACHE moves the cache.

    \b
    Examples:
      zcbench data path
      zcbench data fetch cifar10
      zcbench data import NAS-Bench-201-v1_1-096897.pth
      zcbench data verify
    """  # noqa: D301 - click wants \b itself


@data.command(short_help="Print where the cache is, and what is in it.")
def path() -> None:
    """Print the folder of the cache; what it holds goes to stderr.

    \b
    Examples:
      zcbench data path
      ls "$(zcbench data path)"
    """  # noqa: D301 - click wants \b itself
    from zcbench.files import cache_dir

    cache = cache_dir()
    click.echo(cache)
    files = _files(cache)
    for file in files:
        size = file.stat().st_size / 2**20
        click.echo(
            f"{size:>10,.1f} MiB  {visible(str(file.relative_to(cache)))}", err=True
        )
    if not files:
        click.echo("It is empty.", err=True)


@data.command(short_help="Download the real images: cifar10, cifar100.")
@click.argument("names", metavar="cifar10|cifar100...", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Download official image archives into the cache, checked by their sha256.

    `zcbench run --minibatch auto` uses them from then on. Prints where they are.

    \b
    Examples:
      zcbench data fetch cifar10
      zcbench data fetch cifar10 cifar100
    """  # noqa: D301 - click wants \b itself
    from zcbench import minibatch

    for name in names:
        click.echo(minibatch.fetch(name, progress=sys.stderr.isatty()))


@data.command("import", short_help="Import an official benchmark file.")
@click.argument("file", type=click.Path(path_type=Path))
def import_file(file: Path) -> None:
    """Import an official benchmark file into a compact table, once.

    The NAS-Bench-201 file (.pth) takes minutes and, of 4.7 GB, about 30 GB of memory.
    Then `--truth nas-bench-201` gives test accuracies and results after 12 epochs. The
    NATS-Bench archive NATS-sss-v1_0-50262-simple, a folder or .tar, gives the
    accuracies of the space nats_sss. Nothing in the files is run. Prints where the
    table is.

    \b
    Examples:
      zcbench data import NAS-Bench-201-v1_1-096897.pth
      zcbench run --truth nas-bench-201 --target test
      zcbench data import NATS-sss-v1_0-50262-simple.tar
    """  # noqa: D301 - click wants \b itself
    from zcbench.truth import nats_sss, nb201_official

    is_archive = file.name.startswith(nats_sss.NAME)
    module = nats_sss if is_archive else nb201_official
    what = "whole archive" if is_archive else "official file"
    use = "--space nats_sss" if is_archive else "--truth nas-bench-201"
    click.echo(f"Reading {file}; the {what} takes minutes.", err=True)
    record = module.import_official(file)
    of = f" of {record.release}" if record.release else ""
    text = f"Imported {record.architectures:,} architectures{of}. Use them with {use}."
    click.echo(text, err=True)
    click.echo(module.TABLE.path())


@data.command(short_help="Check that the files of the cache are unchanged.")
def verify() -> None:
    """Hash the files of the cache again and compare with what is on record.

    Exit code 1 if one was changed or is missing. An empty cache is fine.

    \b
    Example:
      zcbench data verify
    """  # noqa: D301 - click wants \b itself
    from zcbench.files import cache_dir

    findings = list(_findings(cache_dir()))
    for verdict, file in findings:
        click.echo(f"{verdict:<8} {file}")
    if not findings:
        click.echo(f"There is nothing to verify in {cache_dir()}.", err=True)
    wrong = sum(verdict != "ok" for verdict, _ in findings)
    if wrong:
        raise ChangedDataError(
            f"{wrong} of {len(findings)} files are not as they were put there.",
            "Delete them, then fetch or import them again.",
        )


def _findings(cache: Path) -> Iterator[tuple[str, Path]]:
    """Verdict and path of each file that has a checksum."""
    from zcbench.minibatch.download import fetchable, image_folder
    from zcbench.truth import nats_sss, nb201_official

    for layout in fetchable().values():
        archive = image_folder(cache) / layout.archive
        if archive.exists():
            yield _verdict(archive, layout.sha256), archive
    for imported in (nb201_official.TABLE, nats_sss.TABLE):
        table = imported.path()
        try:
            record = imported.record()
        except DataError:
            yield "damaged", table
            continue
        if record is not None:
            yield _verdict(table, record.table_sha256), table
        elif table.exists():
            yield "unknown", table


def _verdict(file: Path, sha256: str | None) -> str:
    try:
        with opened(file) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}.") from None
    return "ok" if digest == sha256 else "changed"


def _files(cache: Path) -> list[Path]:
    return sorted(file for file in cache.rglob("*") if file.is_file())
