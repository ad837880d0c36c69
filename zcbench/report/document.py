"""What a command prints, in any format; of runs, what one needs to do them again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import zcbench
from zcbench.analysis.block import Block, conclusions

if TYPE_CHECKING:
    from zcbench.analysis.report import Report
    from zcbench.analysis.study import Study
    from zcbench.report.figures import Figure
import shlex

Facts = Sequence[tuple[str, str]]
"""(what, words) of something."""


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Figures of one kind, in a page.

    Attributes:
        name: of the kind.
        title: what stands above them.
        about: how to read them.
        figures: one or more.
    """

    name: str
    title: str
    about: str
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """What a command prints.

    Attributes:
        blocks: the tables, in reading order.
        facts: what JSON says beside the tables; None: it is the rows of the only one.
        title: of a page.
        heads: lines that say what the blocks are about, where those do not.
        conclusion: what holds over all blocks; empty where each has its own.
        notes: lines for the user, no part of the data: how files were read.
        subjects: in a page, (what was analysed, how it was made).
        leads: in a page, (dataset, its conclusion).
        setting: in a page, how numbers were made.
        galleries: draws the figures of a page.
        fewer: how to ask for one table.
    """

    blocks: Sequence[Block]
    facts: Mapping[str, Any] | None
    title: str = "zcbench"
    heads: Sequence[str] = ()
    conclusion: str = ""
    notes: Sequence[str] = ()
    subjects: Sequence[tuple[str, Facts]] = ()
    leads: Sequence[tuple[str, str]] = ()
    setting: str = ""
    galleries: Callable[[], Sequence[Gallery]] = tuple
    fewer: str = "Ask for less"

    @property
    def parts(self) -> Iterator[Block | str]:
        """Blocks, and below those that share a foot the conclusion and that foot."""
        for block, after in itertools.pairwise([*self.blocks, None]):
            if block is None:
                continue
            yield block
            if block.foot and (after is None or after.foot != block.foot):
                yield from filter(None, (self.conclusion, block.foot))


def document_of(report: Report) -> Document:
    """A whole report; its JSON always holds the correlations and the verdict."""
    from zcbench.analysis.correlations import tidy

    tables, options = report.tables, report.options
    held = {block.name: block for block in (report.verdict, *report.blocks)}
    return Document(
        blocks=[*(tables if report.shows_table else ()), *report.blocks],
        facts={"zcbench": zcbench.__version__}
        | tidy(report.table)
        | {"options": asdict(options)}
        | {"conclusions": conclusions(list(held.values()))}
        | {report.verdict.name: report.verdict.records()},
        title="zcbench report",
        heads=() if report.shows_table else report.heads,
        conclusion=report.conclusion,
        notes=report.table.attrs["notes"],
        subjects=[
            (run["path"], facts(run) + sources(_studies(report, run["path"])))
            for run in report.table.attrs["runs"]
        ],
        leads=[(block.where, block.conclusion) for block in tables],
        setting=f"Statistics: {100 * options.confidence:g}% confidence, clearly above "
        f"{options.clearly}, {options.resamples:,} resamples, seed {options.seed}.",
        galleries=lambda: _galleries(report),
        fewer="Name one --section",
    )


def _studies(report: Report, run: str) -> list[Study]:
    return [s for s in report.studies if s.run == run]


def _galleries(report: Report) -> list[Gallery]:
    """Every kind that the report has figures of."""
    from zcbench.report.figures import KINDS

    drawn = (
        Gallery(name, kind.title, kind.about, kind.draw(report))
        for name, kind in KINDS.items()
    )
    return [gallery for gallery in drawn if gallery.figures]


def command(config: Mapping[str, Any]) -> str:
    """The command that makes a run, every option written out.

    >>> command({"space": "nb201", "datasets": ["cifar10"], "n": 100, "archs": None})
    'zcbench run --space nb201 --datasets cifar10 --n 100'
    """
    from zcbench.config import option_name

    words = ["zcbench", "run"]
    for key, value in config.items():
        if value is None or value == []:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{option_name(key)}", text]
    return shlex.join(words)


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(what, words) of a run: command, when, where, with which versions.

    Args:
        manifest: that of the run, of which anything may be missing.
    """
    config = manifest.get("config", {})
    told = [("Command", command(config) if manifest.get("zcbench") else "")]
    told += [("Made", _made(manifest)), ("Machine", _machine(manifest))]
    told.append(("Versions", _versions(manifest)))
    told += [("Device check", words) for words in device_checks(manifest)]
    for again in manifest.get("resumed", []):
        parts = (_made(again), _machine(again), _versions(again))
        told.append(("Resumed", "; ".join(filter(None, parts))))
    return [(what, words) for what, words in told if words]


def sources(studies: Sequence[Study]) -> list[tuple[str, str]]:
    """(what, words) of the datasets of a run: sample, truth, minibatch.

    What is the same for all datasets is told once.
    """
    told: list[tuple[str, str]] = []
    by_dataset = [(study.dataset, _source(study)) for study in studies]
    for what in ("Sample", "Truth", "Minibatch"):
        words = dict.fromkeys(parts[what] for _, parts in by_dataset)
        if len(words) == 1:
            told.append((what, next(iter(words))))
        else:
            told += [(f"{what}, {name}", parts[what]) for name, parts in by_dataset]
    return told


def device_checks(manifest: Mapping[str, Any]) -> list[str]:
    """What the checks of the device have found, a line each."""
    from zcbench.store.directory import disagreements

    lines: list[str] = []
    for check in manifest.get("device_check", []):
        lines += disagreements(check) or [
            f"{check['about']['device']} agrees with the CPU in float64 in "
            f"{check['about']['precision']} on {len(check['networks'])} networks of "
            f"{check['about']['space']} {check['about']['dataset']}"
        ]
    return list(dict.fromkeys(lines))


def _source(study: Study) -> dict[str, str]:
    digests = {
        "Sample": study.sample_digest,
        "Truth": study.truth_digest,
        "Minibatch": study.minibatch_digest,
    }
    release = f", {study.release}" if study.release else ""
    kind = {"all": "all", "sample": "sample of", "list": "list of"}[study.sampled]
    words = {
        "Sample": f"{kind} {study.architectures:,} architectures, population "
        f"{study.population}, repeats {study.repeats}"
        f"{_known('seed', study.seed)}",
        "Truth": f"{study.target} of {study.truth}{release}",
        "Minibatch": f"{study.images}{_known('batch size', study.batch_size)}",
    }
    return {
        what: text + (f" (sha256 {digests[what]})" if digests[what] else "")
        for what, text in words.items()
    }


def _known(what: str, value: int | None) -> str:
    """, seed 0; or nothing, as of scores that others have published."""
    return "" if value is None else f", {what} {value}"


def _made(manifest: Mapping[str, Any]) -> str:
    parts = [str(manifest.get("created") or "")]
    if manifest.get("zcbench"):
        parts.append(f"zcbench {manifest['zcbench']}")
    if manifest.get("git"):
        parts.append(f"commit {manifest['git']}")
    return ", ".join(filter(None, parts))


def _machine(manifest: Mapping[str, Any]) -> str:
    device = manifest.get("device") or {}
    parts = [device.get("name") or device.get("kind"), manifest.get("platform")]
    return ", ".join(str(part) for part in parts if part)


def _versions(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions") or {}
    return ", ".join(f"{name} {v}" for name, v in versions.items() if v)
