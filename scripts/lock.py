"""Write requirements.lock: exact versions of everything, each file by its sha256.

    python scripts/lock.py PINS [WHEEL ...]      (`make lock` does it)

PINS has a line ``name==version`` for all that is installed. The program uv asks the
registry for the checksums of their files on every platform, and adds what other systems
need. WHEELs are builds that the registry does not have, such as torch for CPUs
alone: their checksums are added. What torch needs for CUDA, some gigabytes, goes into
requirements-cuda.lock.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = """\
# Exact versions of everything, as the committed tables were made: Python 3.11. Every
# file is known by its sha256, on every platform for which the registry has one; builds
# that it has not: {builds}.
#   pip install --require-hashes --requirement requirements.lock
#   pip install --no-deps .
# Where pip takes torch with CUDA (Linux, unless a build for CPUs is given to it), add
#   --requirement requirements-cuda.lock
# to the first. `make lock` writes both anew.
"""
CUDA = "# What torch needs on Linux for CUDA: see requirements.lock.\n"
_CUDA = re.compile(r"(nvidia-|cuda-|triton)")


def compiled(pins: Path) -> list[str]:
    """One text for each requirement: its line, and one line for each checksum."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-annotate"]
    command += ["--no-header", "--no-config", str(pins)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return re.split(r"\n(?=\S)", done.stdout.strip())


def main() -> None:
    """Parse, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pins", type=Path)
    parser.add_argument("wheels", type=Path, nargs="*")
    options = parser.parse_args()
    parts = compiled(options.pins)
    for wheel in options.wheels:
        name, version = wheel.name.split("-")[:2]
        start = f"{name}=={version.partition('+')[0]} "
        place = next(i for i, part in enumerate(parts) if part.startswith(start))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        parts[place] += f" \\\n    --hash=sha256:{digest}"
    builds = ", ".join(wheel.name for wheel in options.wheels) or "none"
    cuda = [part for part in parts if _CUDA.match(part)]
    rest = [part for part in parts if not _CUDA.match(part)]
    for name, head, chosen in (
        ("requirements.lock", LOCK.format(builds=builds), rest),
        ("requirements-cuda.lock", CUDA, cuda),
    ):
        (ROOT / name).write_text(head + "\n".join(chosen) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
