"""Fetching archives, from a server that this test runs."""

from __future__ import annotations

import gc
import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zcbench.errors import DataError, UsageError
from zcbench.minibatch import download, fetch, image_folder
from zcbench.minibatch.layouts import LAYOUTS

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CONTENT = b"an archive" * 1000
ARCHIVE = "cifar-10-python.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.asked.append(self.path)
        found = self.path == f"/{ARCHIVE}"
        content, status = server.content if found else b"", 200 if found else 404
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if found and wanted and server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            content, status = content[start:], 206 if start < len(content) else 416
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if found:
            self.wfile.write(content[: server.sent])

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    content = CONTENT
    sent: int | None = None
    """How much of the content really comes; None: all."""
    knows_ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.ranges: list[str | None] = []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """A server that stands for the official one; its archive has a known checksum."""
    known = hashlib.sha256(CONTENT).hexdigest()
    fake = tuple(
        replace(one, sha256=known) if one.archive == ARCHIVE else one for one in LAYOUTS
    )
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(variable, "127.0.0.1")
        monkeypatch.setattr(download, "LAYOUTS", fake)
        monkeypatch.setattr(
            download, "SERVER", f"http://127.0.0.1:{running.server_port}/"
        )
        logging.getLogger("pooch").setLevel(logging.ERROR)
        yield running
        running.shutdown()
        thread.join()
    gc.collect()  # pooch leaves the connection of a failed request to the collector


def test_an_archive_is_downloaded_once(server: _Server, tmp_path: Path) -> None:
    path = fetch("cifar10", tmp_path / "new" / "cache")
    assert path == image_folder(tmp_path / "new" / "cache") / ARCHIVE
    assert path.read_bytes() == CONTENT
    assert fetch("cifar10", tmp_path / "new" / "cache") == path
    assert server.asked == [f"/{ARCHIVE}"]
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_file_in_the_cache_is_replaced(
    server: _Server, tmp_path: Path
) -> None:
    path = image_folder(tmp_path) / ARCHIVE
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert fetch("cifar10", tmp_path).read_bytes() == CONTENT


def test_the_cache_is_the_one_of_the_environment(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "mine"))
    assert fetch("cifar10") == image_folder(tmp_path / "mine") / ARCHIVE


def test_a_wrong_checksum_keeps_nothing(server: _Server, tmp_path: Path) -> None:
    server.content = CONTENT + b"!"
    with pytest.raises(DataError) as caught:
        fetch("cifar10", tmp_path)
    assert str(caught.value) == (
        f"What {download.SERVER}{ARCHIVE} sent does not have the known checksum; it "
        f"was not kept. Try again later. Or download it yourself and put it into "
        f"{image_folder(tmp_path)}."
    )
    assert list(image_folder(tmp_path).iterdir()) == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_transfer_is_gone_on_with(
    server: _Server,
    tmp_path: Path,
    knows_ranges: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "CHUNK", 1000)
    server.sent, server.knows_ranges = 4000, knows_ranges
    for _ in range(2):
        with pytest.raises(DataError, match="it goes on where it was"):
            fetch("cifar10", tmp_path)
        assert not (image_folder(tmp_path) / ARCHIVE).exists()
    server.sent = None
    path = fetch("cifar10", tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.ranges == (
        [None, "bytes=4000-", "bytes=8000-"]
        if knows_ranges
        else [None, "bytes=4000-", "bytes=4000-"]
    )
    assert list(image_folder(tmp_path).iterdir()) == [path]


@pytest.mark.parametrize("wrong", [b"?" * 500, b"?" * 50_000])
def test_a_part_of_something_else_is_not_gone_on_with_twice(
    server: _Server, tmp_path: Path, wrong: bytes
) -> None:
    part = image_folder(tmp_path) / f".{ARCHIVE}.part"
    part.parent.mkdir()
    part.write_bytes(wrong)
    with pytest.raises(DataError):
        fetch("cifar10", tmp_path)
    assert fetch("cifar10", tmp_path).read_bytes() == CONTENT


def test_a_server_without_the_archive(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch("cifar100", tmp_path)
    assert caught.value.what == (
        f"{download.SERVER}cifar-100-python.tar.gz could not be downloaded (HTTPError)."
    )
    assert caught.value.hint == (
        "Check the connection and try again: it goes on where it was. Or download it "
        f"yourself and put it into {image_folder(tmp_path)}."
    )


def test_no_network(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SERVER", "http://127.0.0.1:1/")  # nobody listens
    with pytest.raises(DataError) as caught:
        fetch("cifar10", tmp_path)
    assert caught.value.what == (
        f"http://127.0.0.1:1/{ARCHIVE} could not be downloaded (ConnectionError)."
    )
    assert list(image_folder(tmp_path).iterdir()) == []


def test_a_cache_that_cannot_be_written(server: _Server, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")
    with pytest.raises(DataError) as caught:
        fetch("cifar10", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'images'} cannot be written: Not a directory. "
        "Make room there, or set ZCBENCH_CACHE to another folder."
    )


def test_unknown_archives(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fetch("cifar-10", tmp_path)
    assert str(caught.value) == (
        "Unknown dataset to fetch 'cifar-10'. Did you mean cifar10?"
    )


def test_the_official_archives() -> None:
    assert download.SERVER == "https://www.cs.toronto.edu/~kriz/"
    assert {name: one.sha256[:8] for name, one in download.fetchable().items()} == {
        "cifar10": "6d958be0",
        "cifar100": "85cd44d0",
    }
