"""Damage and hostility, made from good files by a seed."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = (
    *("", " ", "0", "-1", "1e999", "NaN", "Infinity", "null", "true", "9" * 5000),
    *("\x1b[2J", "\u202eabc", "=1+1", "@SUM(A1)", "\ud800", "\0", "é" * 40, "a" * 400),
    *("../../etc/passwd", "/dev/zero", "/dev/full", "~nobody/x", ".", "/", "C:\\x"),
    *("toy", "nb201", "snip", "params", "val", "cifar10", "schema", "crc32", "%s{0}$x"),
    *("[" * 5000, '{"a":' * 3000, "1" + "0" * 30, "-0", "1_000", "٣", "\r\n", "\t"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, 1e308, -1e-320),
    *("", "x", "9", [], {}, [[]], {"": None}, [1, "a", None], "\x1b[31m", "=cmd"),
)


def flipped(random: random.Random, content: bytes) -> bytes:
    """One to three bits the other way."""
    out = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def digit(random: random.Random, content: bytes) -> bytes:
    """Another digit in the place of one."""
    places = [i for i, byte in enumerate(content) if 48 <= byte <= 57]
    if not places:
        return flipped(random, content)
    place = random.choice(places)
    other = random.choice([d for d in range(48, 58) if d != content[place]])
    return content[:place] + bytes([other]) + content[place + 1 :]


def cut(random: random.Random, content: bytes) -> bytes:
    """Without its end, its start, or a piece of it."""
    a, b = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return random.choice((content[:a], content[a:], content[:a] + content[b:]))


def doubled(random: random.Random, content: bytes) -> bytes:
    """With a piece of it once more, somewhere."""
    a, b, c = sorted(random.randrange(len(content) + 1) for _ in range(3))
    return random.choice((content[:c] + content[a:b] + content[c:], content + content))


def spliced(random: random.Random, content: bytes) -> bytes:
    """With a word put in, or in the place of a piece."""
    word = random.choice(WORDS).encode(errors="surrogatepass")
    a, b = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:a] + word + content[random.choice((a, min(b, a + 8))) :]


def shuffled(random: random.Random, content: bytes) -> bytes:
    """Its lines in another order, or two halves of lines changed for each other."""
    lines = content.split(b"\n")
    a, b = random.randrange(len(lines)), random.randrange(len(lines))
    if random.random() < 0.5:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        half = len(lines[a]) // 2
        lines[a] = lines[a][:half] + lines[b][half:]
    return b"\n".join(lines)


def reworded(random: random.Random, content: bytes) -> bytes:
    """A cell, word or number of a text in exchange for another."""
    for mark in random.sample((b",", b"=", b"\n", b":", b" "), 5):
        parts = content.split(mark)
        if len(parts) > 1:
            word = random.choice(WORDS).encode(errors="surrogatepass")
            parts[random.randrange(len(parts))] = word
            return mark.join(parts)
    return spliced(random, content)


def restructured(random: random.Random, content: bytes) -> bytes:
    """JSON, or one line of it, with another value somewhere."""
    lines = content.split(b"\n")
    whole = _parsed(content)
    place = None if whole is not None else random.randrange(len(lines))
    value = whole if place is None else _parsed(lines[place])
    if not isinstance(value, dict | list) or not value:
        return flipped(random, content)
    _exchange(random, value)
    text = json.dumps(value).encode()
    if place is None:
        return text
    lines[place] = text
    return b"\n".join(lines)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _exchange(random: random.Random, value: Any) -> None:
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = random.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.8:
            value = inner
            continue
        kind = random.random()
        if kind < 0.15 and isinstance(value, dict):
            value[random.choice(WORDS)] = value.pop(key)
        elif kind < 0.3:
            del value[key]
        else:
            value[key] = random.choice(VALUES)
        return


def anything(random: random.Random, content: bytes) -> bytes:
    """Bytes, or words, that nobody meant."""
    if random.random() < 0.5:
        return random.randbytes(random.randrange(len(content) + 1))
    words = random.choices(WORDS, k=random.randrange(6))
    return " ".join(words).encode(errors="surrogatepass")


def packed(random: random.Random, content: bytes) -> bytes:
    """Compressed by gzip, and damaged then."""
    whole = gzip.compress(content, mtime=0)
    return random.choice((whole, flipped(random, whole), cut(random, whole)))


Mutation = Callable[[random.Random, bytes], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    *(flipped, digit, cut, doubled, spliced, shuffled, reworded, restructured),
    *(anything, packed),
)


def mutated(random: random.Random, content: bytes) -> bytes:
    """One mutation, sometimes several."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = random.choice(MUTATIONS)(random, content)
    return content


def special(random: random.Random, path: Path) -> str:
    """Put something there that is no regular file; returns what it is."""
    kind = random.choice(("folder", "pipe", "socket", "loop", "zero", "gone", "full"))
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
    elif kind in ("zero", "full"):
        path.symlink_to(f"/dev/{kind}")
    elif kind == "loop":
        path.symlink_to(path)
    return kind
