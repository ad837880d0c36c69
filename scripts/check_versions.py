"""Run the tests with the oldest versions that pyproject.toml allows, or the newest.

    python scripts/check_versions.py lowest
    python scripts/check_versions.py newest --constraint constraints.txt

Makes a virtual environment, installs the project with its test extra (every lower bound
pinned, for ``lowest``), runs pytest, and prints what was installed. An open range of
torch may download its CUDA packages: give a constraint where that is not wanted.
Arguments after ``--`` go to pytest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=["lowest", "newest"])
    parser.add_argument("--constraint", type=Path, action="append", default=[])
    parser.add_argument("--venv", type=Path, help="keep the environment there")
    parser.add_argument("pytest", nargs="*", default=["-n", "2", "--dist", "loadfile"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.venv or Path(folder) / "venv"
        if not place.exists():
            venv.create(place, with_pip=True)
        pip = [str(place / "bin" / "python"), "-m", "pip"]
        words = [word for path in options.constraint for word in ("-c", str(path))]
        if options.which == "lowest":
            pins = Path(folder) / "lowest.txt"
            pins.write_text("".join(f"{pin}\n" for pin in lower_bounds()))
            words += ["-c", str(pins)]
        command = [*pip, "install", "--quiet", *words, "--editable", f"{ROOT}[test]"]
        subprocess.run(command, check=True)
        subprocess.run([*pip, "freeze", "--exclude-editable"], check=True)
        tests = [str(place / "bin" / "python"), "-m", "pytest", *options.pytest]
        return subprocess.run(tests, cwd=ROOT, check=False).returncode


def lower_bounds() -> list[str]:
    """``name==version`` for every ``name>=version`` of the project and its tests."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(w for group in extras.values() for w in group),
    ]
    return sorted({word.replace(">=", "==") for word in wanted})


if __name__ == "__main__":
    sys.exit(main())
