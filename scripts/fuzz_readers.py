"""What scripts/fuzz.py damages: good files, who reads them, and what must stay true."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations import WORDS

from zcbench.errors import ZcbenchError
from zcbench.spaces import load_space
from zcbench.store import read_manifest, read_records

TOY = (
    "run --space toy --proxies params --workers 1 --batch-size 4 --minibatch gaussian "
    "--truth none --out {o} "
)
TWO = f"{TOY} --n 2 "
MACRO = "run --space macro --n 2 --proxies params --batch-size 2 --dry-run --truth "
SCORE = (
    "score {i}/nets.py:one {i}/nets.py:two --proxies params --input 3,4,4 --classes 2 "
    "--accuracies "
)
IMAGES = "images-of-CIFAR-10"
"""Stands for a command that reads them and nothing else."""


def read_images(path: str) -> None:
    """Take a minibatch out of a file or folder."""
    from zcbench.minibatch import open_source

    open_source(path, load_space("nb201").tasks["cifar10"]).batch(4, seed=0)


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        folder: where good ones lie.
        files: those of them that are damaged, one at a time.
        commands: command lines; {i} is the damaged folder, {g} the good ones, {o} a
            place that is not there.
        check: (good, damaged, stderr) → ``"same"``, ``"said"`` or ``"wrong"``, after a
            command that read it.
    """

    folder: str
    files: Sequence[str]
    commands: Sequence[str]
    check: Callable[[Path, Path, str], str] | None = None

    def commands_of(self, file: str) -> Sequence[str]:
        """Those that name a file, or the folder that it is in; else all."""
        end = f"/{file.partition('/')[0]}"
        named = [c for c in self.commands if any(w.endswith(end) for w in c.split())]
        return named or self.commands


def _told(stderr: str) -> bool:
    return "no checksum" in stderr or "is not as zcbench wrote it" in stderr


def _key(record: dict[str, Any]) -> tuple[object, ...]:
    return record["space"], record["dataset"], record["index"], record["repeat"]


def _same_scores(good: Path, damaged: Path, stderr: str) -> str:
    """Every line is one of the good ones; what is lost, a run does again."""
    expected = {_key(r): r for r in read_records(good / "run")}
    pairs = [(r, expected.get(_key(r))) for r in read_records(damaged)]
    same = all(
        ours is not None
        and record["arch"] == ours["arch"]
        and record.get(part, {}).get(name) == ours.get(part, {}).get(name)
        for record, ours in pairs
        for part in ("scores", "status")
        for name in record["scores"]
    )
    return "same" if same else "said" if _told(stderr) else "wrong"


def _same_manifest(good: Path, damaged: Path, stderr: str) -> str:
    try:
        same = read_manifest(damaged) == read_manifest(good / "run")
    except ZcbenchError:
        return "wrong"
    return "same" if same else "said" if _told(stderr) else "wrong"


def _same_report(good: Path, damaged: Path, stderr: str) -> str:
    one, other = (
        json.loads((p / "report.json").read_bytes()) for p in (good / "report", damaged)
    )
    one.pop("crc32"), other.pop("crc32", None)
    return "same" if one == other else "said" if _told(stderr) else "wrong"


_QUICK = [
    "report {i} --resamples 100",
    "report {i} --resamples 100 --format json",
    "compare {i} {g}/run",
    "compare {g}/run {i} --format json",
    "agree {g}/run {i}",
    "site {i} -o {o}",
]
_RUNS = [
    *(_QUICK * 6),
    "report {i} --format md --section all --resamples 100",
    "report {i} --format html --resamples 100 -o {o}.html",
    "plot {i} --kind forest -o {o}",
    "search {i} --trials 2 --evaluations 5 --warmup 2",
    "predict {i} --train 5 --trials 1 --models ridge",
]
_GO_ON = TOY.replace("{o}", "{i}").replace("params", "params,snip")
_SCORES = ["scores.jsonl"]
_OFFICIAL = ["NAS-Bench-201.pth", "old.pth", "NATS-sss.tar", "NATS-sss"]
_CIFAR = [f"cifar-10-batches-{kind}" for kind in ("py", "bin")]
READERS: dict[str, Reader] = {
    "scores.jsonl": Reader("run", _SCORES, [*_RUNS, *[_GO_ON] * 5], _same_scores),
    "scores.jsonl.gz": Reader("packed", ["scores.jsonl.gz"], _RUNS, _same_scores),
    "manifest.json": Reader("run", ["manifest.json"], _RUNS, _same_manifest),
    "manifest as configuration": Reader(
        "run",
        ["manifest.json"],
        ["run --config {i}/manifest.json --space toy --dry-run"],
    ),
    "archs.txt of a run": Reader("listed", ["archs.txt"], _QUICK[:2]),
    "configuration": Reader(
        "config",
        ["run.toml"],
        ["run --config {i}/run.toml --space toy --proxies params --dry-run"],
    ),
    "task": Reader("config", ["task.toml"], [TWO + "--task {i}/task.toml"]),
    "list of architectures": Reader(
        "config",
        ["archs.txt", "archs.csv"],
        [TOY + "--archs {i}/archs.txt", TOY + "--archs {i}/archs.csv"],
    ),
    "truth: CSV": Reader(
        "truth",
        ["truth.csv"],
        [TWO + "--truth {i}/truth.csv", "report {g}/run --truth {i}/truth.csv"],
    ),
    "truth: Parquet": Reader(
        "truth", ["truth.parquet"], ["report {g}/run --truth {i}/truth.parquet"]
    ),
    "truth: JSON of macro": Reader("truth", ["macro.json"], [MACRO + "{i}/macro.json"]),
    "truth: official pickles": Reader(
        "official",
        [*_OFFICIAL[:3], "NATS-sss/000000.pickle.pbz2", "NATS-sss/meta.pickle.pbz2"],
        [f"data import {{i}}/{name}" for name in _OFFICIAL],
    ),
    "images: npz": Reader("images", ["toy.npz"], [TWO + "--minibatch {i}/toy.npz"]),
    "images: CIFAR": Reader(
        "cifar",
        [f"{_CIFAR[0]}/data_batch_1", f"{_CIFAR[1]}/data_batch_1.bin"],
        [f"{IMAGES} {{i}}/{name}" for name in _CIFAR],
    ),
    "images: tar.gz": Reader(
        "cifar",
        ["cifar-10-python.tar.gz"],
        [f"{IMAGES} {{i}}/cifar-10-python.tar.gz"],
    ),
    "published scores: CSV": Reader(
        "scores", ["scores.csv"], ["agree {g}/run {i}/scores.csv"]
    ),
    "published scores: JSON": Reader(
        "scores",
        ["scores.json"],
        [
            "agree {g}/run {i}/scores.json --format csv",
            "report --scores {i}/scores.json --space toy",
        ],
    ),
    "JSON report": Reader(
        "report",
        ["report.json"],
        [
            "compare {i}/report.json {g}/run",
            "compare {g}/report/report.json {i}/report.json --format md",
            "compare {g}/run {i}/report.json --format json",
            "site {i}/report.json -o {o}",
        ],
        _same_report,
    ),
    "accuracies of networks": Reader(
        "nets", ["accuracies.csv"], [SCORE + "{i}/accuracies.csv"]
    ),
}
"""Name in the table → the reader."""

_COMMANDS: dict[str, str] = {
    "run": "--space toy --proxies params --dry-run",
    "report": "{g}/run",
    "plot": "{g}/run --kind forest",
    "compare": "{g}/run {g}/report/report.json",
    "agree": "{g}/run {g}/scores/scores.csv",
    "predict": "{g}/run --train 5 --trials 1 --models ridge",
    "site": "{g}/run {g}/report/report.json",
    "search": "{g}/run --trials 2 --evaluations 5 --warmup 2",
    "list": "proxies",
    "show": "snip",
    "score": "{g}/nets/nets.py:one --input 3,4,4 --classes 2 --proxies params,snip",
    "new": "proxy mine",
    "data": "verify",
}
_SMALL = ("", "-1", "0", "1", "2", "0.5", "nan", "1e-9", "٣", " 3 ", "9" * 30, "x,y")


def command_line(rng: random.Random, good: Path, folder: Path) -> list[str]:
    """A command with options of its own; what takes long or reaches out is left out."""
    from zcbench.cli import main

    name = rng.choice([*_COMMANDS, rng.choice(WORDS) or "x"])
    words = _COMMANDS.get(name, "").format(g=good).split()
    command = main.get_command(None, name)  # type: ignore[arg-type]
    options = [p for p in command.params if p.opts[0][:1] == "-"] if command else []
    for option in rng.choices(options, k=rng.randrange(4)) if options else ():
        words.append(rng.choice(option.opts))
        if not getattr(option, "is_flag", False):
            words.append(_value(rng, option, good, folder))
    for _ in range(rng.choice((0, 0, 1))):
        place = rng.randrange(len(words) + 1)
        words[place : place + rng.randrange(2)] = [rng.choice(WORDS)[:2000]]
    paths = [w for w in words if w not in ("--dry-run", "--help")]
    if name == "run" and "--dry-run" not in words:
        return [name, *paths, "--dry-run"]
    # No system passes these to a program.
    return [
        w.replace("\0", "").encode("utf-8", "ignore").decode() for w in (name, *words)
    ]


def _value(rng: random.Random, option: Any, good: Path, folder: Path) -> str:
    choices = getattr(option.type, "choices", None)
    if choices and rng.random() < 0.7:
        return str(rng.choice(list(choices)))
    places = [
        good / "run",
        good / "report" / "report.json",
        good / "truth" / "truth.csv",
    ]
    places += [
        folder / "none",
        folder,
        Path("/dev/full"),
        Path("/dev/zero"),
        good / "nets",
    ]
    if option.opts[0] in ("-o", "--output", "--out", "-O"):
        return str(
            rng.choice([folder / "out", folder, folder / "a" / "b", "/dev/full"])
        )
    pool = [*_SMALL, *(str(p) for p in places), *(w[:2000] for w in WORDS)]
    return rng.choice([word for word in pool if word not in ("nb201", "/", "C:\\x")])
