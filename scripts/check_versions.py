"""Run the tests with the oldest versions that pyproject.toml allows, or the newest.

    python scripts/check_versions.py lowest
    python3.13 scripts/check_versions.py newest --constraint constraints.txt
    python scripts/check_versions.py golden

Makes a virtual environment of the Python that runs this, installs the project with its
test extra (every lower bound pinned, for ``lowest``), prints what was installed, runs
pytest, and compares the golden run with one made there, score by score. ``golden`` does
that alone, here. An open range of torch may download its CUDA packages: give a
constraint where that is not wanted. Arguments after ``--`` go to pytest.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=["lowest", "newest", "golden"])
    parser.add_argument("--constraint", type=Path, action="append", default=[])
    parser.add_argument("--venv", type=Path, help="keep the environment there")
    parser.add_argument("pytest", nargs="*", default=["-n", "2", "--dist", "loadfile"])
    options = parser.parse_args()
    if options.which == "golden":
        return golden()
    with tempfile.TemporaryDirectory() as folder:
        place = options.venv or Path(folder) / "venv"
        if not place.exists():
            venv.create(place, with_pip=True)
        python = str(place / "bin" / "python")
        words = [word for path in options.constraint for word in ("-c", str(path))]
        if options.which == "lowest":
            pins = Path(folder) / "lowest.txt"
            pins.write_text("".join(f"{pin}\n" for pin in lower_bounds()))
            words += ["-c", str(pins)]
        pip = [python, "-m", "pip"]
        command = [*pip, "install", "--quiet", *words, "--editable", f"{ROOT}[test]"]
        subprocess.run(command, check=True)
        subprocess.run([*pip, "freeze", "--exclude-editable"], check=True)
        if options.which == "lowest":  # old packages use what new ones deprecate
            options.pytest += ["-W", "ignore::DeprecationWarning"]
        codes = [
            subprocess.run([python, *words], cwd=ROOT, check=False).returncode
            for words in (["-m", "pytest", *options.pytest], [__file__, "golden"])
        ]
    return max(codes)


def lower_bounds() -> list[str]:
    """``name==version`` for every ``name>=version`` of the project and its extras."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"].values()
    wanted = {*project["dependencies"], *(word for group in extras for word in group)}
    return sorted(word.replace(">=", "==") for word in wanted)


def golden() -> int:
    """Make the golden run here, and tell how far its scores are from the committed."""
    import numpy as np
    import torch

    import zcbench
    from zcbench.config import load_config

    with tempfile.TemporaryDirectory() as folder:
        options = {"out": Path(folder) / "run"}
        path = zcbench.run(load_config(options, file=ROOT / "configs" / "ci.toml"))
        here = zcbench.load_run(path)
    there = zcbench.load_run(ROOT / "results" / "golden")
    keys = ["dataset", "arch", "repeat"]
    names = there.attrs["proxies"]
    old, new = (t.set_index(keys)[names].sort_index() for t in (there, here))
    a, b = old.to_numpy(float), new.to_numpy(float)
    known = np.isfinite(a) & np.isfinite(b)
    size = np.maximum(np.abs(a), np.abs(b))
    apart = np.where(known & (size > 0), np.abs(a - b) / np.where(size > 0, size, 1), 0)
    worst = {
        name: float(column.max()) for name, column in zip(names, apart.T, strict=True)
    }
    moved = sorted((n for n in names if worst[n] > 1e-4), key=worst.get, reverse=True)
    same = (np.isfinite(a) == np.isfinite(b)).all()
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}: "
        f"{int((a == b)[known].sum()):,} of {int(known.sum()):,} scores equal bit for "
        f"bit, the same ones without a value: {bool(same)}; further apart than 1e-4: "
        + (", ".join(f"{name} {worst[name]:.1e}" for name in moved) or "none")
    )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
