"""Build sdist and wheel, install the wheel in a fresh environment, and run it there.

    python scripts/check_package.py           with what is installed here
    python scripts/check_package.py --lock    with requirements.lock, by its checksums
    python scripts/check_package.py --lock --cuda      where pip takes torch with CUDA
    python scripts/check_package.py --lock --torch WHEEL       with this build of torch

CI does the first (.ci/run) and the third (.github/workflows/package.yml).

The wheel is made from the sdist, and the sdist from the files that git knows, so that
what either lacks shows. Exits with 1 if a file or a command is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "--version",
    "list tasks",
    "new proxy mine",
    "run --space toy --n 4 --proxies params,snip --workers 1 --out run",
    "report run --format html -o page.html",
    "plot run --kind forest -o figures",
    "compare run run --scores",
)
BUILD = "import sys; from setuptools import build_meta as b; b.build_sdist(sys.argv[1])"


def call(*words: str | Path, cwd: Path) -> str:
    """Run a program without this directory in its way; its output."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        shown = " ".join(map(str, words))
        sys.exit(f"{shown} gives {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(place: Path) -> tuple[Path, Path]:
    """The sdist and the wheel made from it."""
    source, out = place / "source", place / "dist"
    listed = call("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    call(sys.executable, "-c", BUILD, out, cwd=source)
    (sdist,) = out.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    call(*pip, "--no-build-isolation", "--wheel-dir", out, sdist, cwd=place)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        lacking = {n for n in listed if n.startswith("zcbench/")} - {
            *archive.namelist()
        }
    if lacking:
        sys.exit(f"{wheel.name} lacks {', '.join(sorted(lacking))}.")
    return sdist, wheel


def with_build(place: Path, torch: Path) -> Path:
    """The lock with a build of torch that the registry lacks; its checksum is there."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^torch==\S+", f"torch @ {torch.resolve().as_uri()}", text)
    (place / "build.lock").write_text(changed, encoding="utf-8")
    return place / "build.lock"


def install(place: Path, wheel: Path, locks: list[Path]) -> Path:
    """The folder of programs of an environment that has the wheel."""
    home = place / "env"
    venv.create(home, with_pip=False)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--python", home, "install", "--quiet")
    if locks:
        given = [word for lock in locks for word in ("--requirement", lock)]
        call(*pip, "--require-hashes", *given, cwd=place)
    call(*pip, "--no-deps", wheel, cwd=place)
    if not locks:  # what this environment has, without its own zcbench
        scheme = {"base": str(home), "platbase": str(home)}
        ours = Path(sysconfig.get_path("purelib", vars=scheme))
        (ours / "rest.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return programs


def main() -> None:
    """Build, install, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lock", action="store_true")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--torch", type=Path)
    options = parser.parse_args()
    locks = [ROOT / "requirements.lock"] if options.lock else []
    locks += [ROOT / "requirements-cuda.lock"] if options.cuda else []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.torch:
            locks[0] = with_build(place, options.torch)
        sdist, wheel = build(place)
        programs = install(place, wheel, locks)
        where = "import pathlib, zcbench; print(pathlib.Path(zcbench.__file__).parent)"
        home = call(programs / "python", "-c", where, cwd=place).strip()
        if not Path(home).is_relative_to(place):
            sys.exit(f"It runs {home}, not the wheel.")
        for words in COMMANDS:
            call(programs / "zcbench", *words.split(), cwd=place)
    kept = ", ".join(lock.name for lock in locks) or "what is installed here"
    print(f"{sdist.name} and {wheel.name}: {len(COMMANDS)} commands run, with {kept}.")


if __name__ == "__main__":
    main()
