"""Reports beside the committed runs whose accuracies are files of yours.

    python scripts/save_reports.py [RUN…] [--truth macro-500=nas-bench-macro.json]

Without --truth they are taken from where the run was made with them (docs/spaces.md).

`zcbench site results` shows a run by its report.json where its accuracies are not at
hand. It holds what the pages show and nothing of a single architecture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from measure_across import RESULTS, RUNS, load

from zcbench.files import CHECKSUM, signed, write
from zcbench.report import make_report, render
from zcbench.report.site import SAVED, SECTIONS, SHOWN

BUILT_IN = ("nb201-1000", "fcnet")
"""Runs whose accuracies come with zcbench."""
WITHOUT = tuple(name for name in RUNS if name not in BUILT_IN)
DIGITS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="of results/")
    parser.add_argument("--truth", action="append", default=[], metavar="RUN=FILE")
    options = parser.parse_args()
    given = dict(entry.split("=", 1) for entry in options.truth)
    for name in options.runs or WITHOUT:
        text = saved(RESULTS / name, given.get(name))
        write(text, RESULTS / name / SAVED)
        print(f"{name}: {len(text):,} bytes")


def saved(path: Path, truth: str | None = None) -> bytes:
    """What stands beside a run."""
    made = make_report([load(path, truth)], sections=SECTIONS)
    report = json.loads(render(made, "json"))
    del report[CHECKSUM]
    for table, shown in SHOWN.items():
        report[table] = [{name: row[name] for name in shown} for row in report[table]]
    text = json.dumps(rounded(report), indent=0, separators=(",", ":"))
    return signed(text.encode()) + b"\n"


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
