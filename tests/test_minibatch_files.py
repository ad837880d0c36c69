"""Readers of image files: every format, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zcbench.errors import DataError
from zcbench.minibatch import archives, image_folder, open_source
from zcbench.minibatch.archives import read_npz, read_tar
from zcbench.minibatch.image_files import Images, read_images
from zcbench.minibatch.layouts import integers, load_plain, names_dataset
from zcbench.types import Task

CIFAR10 = Task("cifar10", (3, 32, 32), 10)
CIFAR100 = Task("cifar100", (3, 32, 32), 100)
IMAGENET16 = Task("ImageNet16-120", (3, 16, 16), 120)
TOY = Task("toy", (3, 8, 8), 4)

NPZ = "An .npz needs images, uint8 [N, H, W, C], and labels, integers [N]."
FORMATS = (
    "It reads .npz files with images and labels, the CIFAR-10 and CIFAR-100 archives "
    "or folders, and the ImageNet16 folder."
)
TRUSTED = "Do not trust that file: fetch the official one."
OFFICIAL = "Give one of the official files."


def error_of(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        call()
    return caught.value.what, caught.value.hint


def outcome(call: Callable[[], Any]) -> tuple[Any, DataError | None]:
    """What a call returns, or the clear error that it raises."""
    try:
        return call(), None
    except DataError as error:
        return None, error


def pixels(count: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3 * side * side), dtype=np.uint8)


def batch_bytes(
    data: object, labels: object, key: str = "labels", protocol: int = 4
) -> bytes:
    return pickle.dumps({"data": data, key: labels, "filenames": ["a.png"]}, protocol)


def write_npz(path: Path, count: int = 6, side: int = 8, **changes: Any) -> Path:
    arrays = {
        "images": np.zeros((count, side, side, 3), np.uint8),
        "labels": np.arange(count) % 4,
    } | changes
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


def tar_bytes(members: dict[str, bytes], compress: bool = True) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz" if compress else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def collection(kind: str) -> tuple[Task, str, dict[str, bytes], np.ndarray, np.ndarray]:
    """Task, folder, members, and the images and labels that they hold."""
    rows, labels = pixels(12, 32), np.arange(12) % 10
    halves = [(rows[:6], labels[:6]), (rows[6:], labels[6:])]
    if kind == "cifar-10-python":
        members = {
            f"data_batch_{i}": batch_bytes(x, y.tolist())
            for i, (x, y) in enumerate(halves, 1)
        }
        return CIFAR10, "cifar-10-batches-py", members, rows, labels
    if kind == "cifar-10-binary":
        members = {
            f"data_batch_{i}.bin": np.c_[y.astype(np.uint8), x].tobytes()
            for i, (x, y) in enumerate(halves, 1)
        }
        return CIFAR10, "cifar-10-batches-bin", members, rows, labels
    if kind == "cifar-100-python":
        members = {"train": batch_bytes(rows, (labels * 9).tolist(), "fine_labels")}
        return CIFAR100, "cifar-100-python", members, rows, labels * 9
    if kind == "cifar-100-binary":
        both = np.stack([labels, labels * 9], 1).astype(np.uint8)
        members = {"train.bin": np.c_[both, rows].tobytes()}
        return CIFAR100, "cifar-100-binary", members, rows, labels * 9
    rows, labels = pixels(12, 16), np.array([1, 120, 121, 1000, 5, 7] * 2)
    members = {
        "train_data_batch_1": batch_bytes(rows[:6], labels[:6].tolist()),
        "train_data_batch_10": batch_bytes(rows[6:], labels[6:].tolist()),
    }
    keep = labels <= 120
    return IMAGENET16, "ImageNet16", members, rows[keep], labels[keep] - 1


KINDS = [
    "cifar-10-python",
    "cifar-10-binary",
    "cifar-100-python",
    "cifar-100-binary",
    "ImageNet16",
]


def write_folder(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in members.items():
        (folder / name).write_bytes(data)
    (folder / "readme.html").write_text("to be ignored")
    return folder


def check(found: Images, task: Task, rows: np.ndarray, labels: np.ndarray) -> None:
    assert np.array_equal(found.pixels, rows.reshape(-1, *task.input_shape))
    assert found.pixels.dtype == np.uint8
    assert np.array_equal(found.labels, labels)
    assert found.labels.dtype == np.int64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["the folder", "its parent", "a file of it"])
def test_folders(kind: str, where: str, tmp_path: Path) -> None:
    task, name, members, rows, labels = collection(kind)
    folder = write_folder(tmp_path / name, members)
    if where == "a file of it":
        first = next(iter(members))
        found = read_images(folder / first, task)
        assert np.array_equal(found.pixels.reshape(len(found.labels), -1)[0], rows[0])
        assert found.digest == hashlib.sha256(members[first]).hexdigest()
        return
    found = read_images(folder if where == "the folder" else tmp_path, task)
    check(found, task, rows, labels)
    assert found.name == kind
    assert found.digest == hashlib.sha256(b"".join(members.values())).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compress", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("dot", ["", "./"], ids=["", "dot"])
def test_archives(kind: str, compress: bool, dot: str, tmp_path: Path) -> None:
    task, name, members, rows, labels = collection(kind)
    ignored = {f"{name}/batches.meta": b"\x80junk", "other/data_batch_1": b"junk"}
    inside = {f"{dot}{name}/{member}": data for member, data in members.items()}
    path = tmp_path / f"{kind}.tar.gz"
    path.write_bytes(tar_bytes(ignored | inside, compress))
    before = sorted(tmp_path.rglob("*"))
    found = read_images(path, task)
    check(found, task, rows, labels)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sorted(tmp_path.rglob("*")) == before  # nothing was extracted
    official = kind in ("cifar-10-python", "cifar-100-python")
    assert found.name == (f"{kind}:{path.name}" if official else kind)
    if kind != "ImageNet16":
        check(read_images(tmp_path, task), task, rows, labels)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("order", ["C", "F"])
def test_pickles_of_every_protocol(protocol: int, order: str) -> None:
    rows = np.asarray(pixels(3, 4), order=order)
    entries = load_plain(batch_bytes(rows, np.arange(3), protocol=protocol), "x")
    assert np.array_equal(integers(entries, "data", "x"), rows)
    assert integers(entries, "labels", "x").tolist() == [0, 1, 2]


def test_pickles_as_python_2_wrote_the_official_files() -> None:
    raw = bytes(range(256)) * 24
    data = (
        b"\x80\x02}q\x00(U\x04datacnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\n"
        b"U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        b"tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
        b"U\x06labels](K\x03K\x07eU\x0bbatch_labelU\x06x of yu."
    )
    entries = load_plain(data, "x")
    assert integers(entries, "labels", "x").tolist() == [3, 7]
    array = integers(entries, "data", "x")
    assert array.shape == (2, 3072)
    assert array.tobytes() == raw
    bytes_keys = pickle.dumps({b"labels": [1]})
    assert integers(load_plain(bytes_keys, "x"), "labels", "x").tolist() == [1]


class Evil:
    """Pickles to a call of `function`."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("form", ["member of an archive", "file of a folder"])
def test_nothing_in_a_pickle_is_run(form: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    attack = batch_bytes(Evil(os.mkdir, str(trace)), [0])
    if form == "member of an archive":
        path = tmp_path / "cifar-10-python.tar.gz"
        path.write_bytes(tar_bytes({"cifar-10-batches-py/data_batch_1": attack}))
        where = f"{path}/cifar-10-batches-py/data_batch_1"
    else:
        path = write_folder(tmp_path / "cifar", {"data_batch_1": attack})
        where = str(path / "data_batch_1")
    what, hint = error_of(lambda: read_images(path, CIFAR10))
    assert what == (
        f"{where} is not plain data (it names {os.name}.mkdir); nothing in it was run."
    )
    assert hint == TRUSTED
    assert not trace.exists()


@pytest.mark.parametrize(
    "function",
    [eval, exec, getattr, np.save, np.load, np.frombuffer, pickle.loads, print],
)
def test_no_function_can_be_named(function: Callable[..., object]) -> None:
    what, _ = error_of(lambda: load_plain(pickle.dumps(Evil(function, "1")), "f"))
    assert what.startswith("f is not plain data (it names ")


def test_pickles_cannot_claim_memory() -> None:
    memo = b"\x80\x02}r\xff\xff\xff\x7f."  # memo index 2³¹ − 1
    assert load_plain(memo, "f") == {}
    huge = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x."
    assert error_of(lambda: load_plain(huge, "f")) == (
        "f is not plain data (EOFError); nothing in it was run.",
        TRUSTED,
    )


@given(st.binary(max_size=60))
@example(b"")
@example(b"\x80\x04}.")
@example(pickle.dumps([1]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_dictionary_or_a_clear_error(data: bytes) -> None:
    entries, error = outcome(lambda: load_plain(data, "f"))
    assert isinstance(entries, dict) if error is None else "f is " in error.what


@given(cut=st.integers(0, 3500), flip=st.integers(0, 3500), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_damaged_batches_give_integers_or_a_clear_error(
    cut: int, flip: int, bit: int
) -> None:
    data = bytearray(batch_bytes(pixels(1, 32), [3]))
    if flip < len(data):
        data[flip] ^= 1 << bit
    if cut < len(data) - 1:
        del data[cut + 1 :]
    read, error = outcome(lambda: integers(load_plain(bytes(data), "f"), "data", "f"))
    assert read.dtype.kind in "iu" if error is None else error.what.startswith("f ")


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "text",
        [1.5],
        [True],
        [1 << 40],
        [[1], [2]],
        np.zeros(2),
        np.array(["a"]),
        np.array([None]),
        np.zeros(2, dtype=">i8"),
        np.zeros(2, dtype=[("a", "u1")]),
    ],
    ids=repr,
)
def test_entries_that_are_not_integers(value: object) -> None:
    entries = load_plain(pickle.dumps({"data": value}), "f")
    assert error_of(lambda: integers(entries, "data", "f")) == (
        "f has no integers under 'data'.",
        OFFICIAL,
    )
    assert error_of(lambda: integers(entries, "absent", "f")) == (
        "f has no integers under 'absent'.",
        OFFICIAL,
    )


def test_pickles_of_something_else() -> None:
    assert error_of(lambda: load_plain(pickle.dumps([1, 2]), "f")) == (
        "f is a pickled list, not a dictionary.",
        OFFICIAL,
    )
    assert error_of(lambda: load_plain(pickle.dumps(np.zeros(3, np.uint8)), "f")) == (
        "f is a pickled array, not a dictionary.",
        OFFICIAL,
    )


@pytest.mark.parametrize(
    ("data", "labels", "what"),
    [
        (
            pixels(3, 32),
            [1, 2],
            "{} does not hold one row of bytes and one label per image.",
        ),
        (
            np.zeros((2, 3072), np.int64),
            [1, 2],
            "{} does not hold one row of bytes and one label per image.",
        ),
        (
            np.zeros(6, np.uint8),
            [1] * 6,
            "{} does not hold one row of bytes and one label per image.",
        ),
        (pixels(2, 16), [1, 2], "{} has 768 bytes an image, not 3072."),
    ],
    ids=["lengths", "dtype", "dimensions", "size"],
)
def test_batches_of_the_wrong_form(
    data: np.ndarray, labels: list[int], what: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "x", {"data_batch_1": batch_bytes(data, labels)})
    assert error_of(lambda: read_images(folder, CIFAR10)) == (
        what.format(folder / "data_batch_1"),
        OFFICIAL,
    )


@pytest.mark.parametrize("data", [b"", b"x" * 3072], ids=["empty", "cut"])
def test_binary_files_that_are_cut_short(data: bytes, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "x", {"data_batch_1.bin": data})
    assert error_of(lambda: read_images(folder, CIFAR10)) == (
        f"{folder / 'data_batch_1.bin'} has {len(data)} bytes, which is no multiple "
        "of 3073.",
        "Fetch or copy it again.",
    )


def test_imagenet16_without_a_class_of_the_task_is_empty(tmp_path: Path) -> None:
    members = {"train_data_batch_3": batch_bytes(pixels(2, 16), [121, 1000])}
    folder = write_folder(tmp_path / "ImageNet16", members)
    source = open_source(str(folder), IMAGENET16)
    assert error_of(lambda: source.batch(1, seed=0)) == (
        "ImageNet16 has 0 images of ImageNet16-120, but the batch needs 1.",
        "Give more images or lower the batch size.",
    )


# .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", "int64", ">i4"])
def test_npz(save: Callable[..., None], order: str, dtype: str, tmp_path: Path) -> None:
    images = np.asarray(pixels(4, 8).reshape(4, 8, 8, 3), order=order)
    labels = np.array([3, 0, 1, 2], dtype=dtype)
    save(tmp_path / "mine.npz", images=images, labels=labels, more=np.zeros(3))
    found = read_images(tmp_path / "mine.npz", TOY)
    check(found, TOY, images.transpose(0, 3, 1, 2), labels)
    assert found.name == "npz:mine.npz"
    data = (tmp_path / "mine.npz").read_bytes()
    assert found.digest == hashlib.sha256(data).hexdigest()


def test_npz_of_one_channel(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "x.npz", images=np.ones((6, 4, 5, 1), np.uint8))
    assert read_images(path, Task("grey", (1, 4, 5), 4)).pixels.shape == (6, 1, 4, 5)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"images": None}, "{} has no array 'images'."),
        ({"labels": None}, "{} has no array 'labels'."),
        (
            {"images": np.zeros((6, 8, 8, 3))},
            "The images in {} are float64 [6, 8, 8, 3].",
        ),
        (
            {"images": np.zeros((6, 64), np.uint8)},
            "The images in {} are uint8 [6, 64].",
        ),
        ({"labels": np.full(6, np.nan)}, "The labels in {} are float64 [6]."),
        ({"labels": np.zeros((6, 1), int)}, "The labels in {} are int64 [6, 1]."),
        ({"labels": np.zeros(5, int)}, "{} has 6 images but 5 labels."),
        (
            {"labels": np.array([None] * 6)},
            "The labels in {} are Python objects, not numbers.",
        ),
        (
            {"labels": np.zeros(6, dtype=[("a", int)])},
            "The labels in {} are Python objects, not numbers.",
        ),
    ],
)
def test_npz_of_the_wrong_form(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    path = write_npz(tmp_path / "x.npz", **changes)
    assert error_of(lambda: read_images(path, TOY)) == (what.format(path), NPZ)


def test_npz_with_a_pickle_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([Evil(os.mkdir, str(trace))] * 6)
    path = write_npz(tmp_path / "x.npz", labels=objects)
    what, _ = error_of(lambda: read_images(path, TOY))
    assert what == f"The labels in {path} are Python objects, not numbers."
    assert not trace.exists()


def test_images_of_another_size(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "x.npz", side=16)
    assert error_of(lambda: read_images(path, TOY)) == (
        f"The images in {path} are 3×16×16, but toy needs 3×8×8.",
        "Give images of that size, or say --minibatch builtin.",
    )


@pytest.mark.parametrize("wrong", [-1, 4])
def test_labels_out_of_range(wrong: int, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "x.npz", labels=np.array([0, 1, 2, 3, 0, wrong]))
    assert error_of(lambda: read_images(path, TOY)) == (
        f"The labels in {path} run from {min(0, wrong)} to {max(3, wrong)}, but toy "
        "has classes 0 to 3.",
        "Number the classes from 0.",
    )


def test_labels_too_large_for_int64_are_out_of_range(tmp_path: Path) -> None:
    labels = np.array([0, 1, 2, 3, 0, 2**64 - 1], np.uint64)
    what, _ = error_of(
        lambda: read_images(write_npz(tmp_path / "x.npz", labels=labels), TOY)
    )
    assert what.startswith("The labels in ")


def test_npz_headers_cannot_claim_memory(tmp_path: Path) -> None:
    header = io.BytesIO()
    huge = {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 8, 8, 3)}
    np.lib.format.write_array_header_1_0(header, huge)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + b"few")
    assert error_of(lambda: read_images(path, TOY)) == (
        f"The images in {path} are cut short.",
        "Copy it again.",
    )


def test_npz_members_have_a_size_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER", 1 << 20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, images=np.zeros((6000, 8, 8, 3), np.uint8))
    assert path.stat().st_size < 10_000
    assert error_of(lambda: read_images(path, TOY)) == (
        f"images in {path} unpacks to more than 1 MiB.",
        TRUSTED,
    )


def npz_bytes() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, images=np.zeros((2, 2, 2, 3), np.uint8), labels=np.arange(2))
    return stream.getvalue()


@given(
    cut=st.integers(0, len(npz_bytes())),
    flip=st.integers(0, len(npz_bytes()) - 1),
    bit=st.integers(0, 7),
)
@settings(max_examples=200, deadline=None)
def test_damaged_npz_give_arrays_or_a_clear_error(
    cut: int, flip: int, bit: int
) -> None:
    data = bytearray(npz_bytes())
    data[flip] ^= 1 << bit
    arrays, error = outcome(lambda: read_npz(bytes(data[:cut]), "f"))
    if error is None:
        images, labels = arrays
        assert images.dtype == np.uint8
        assert len(images) == len(labels)
    else:
        assert "f" in error.what.split()  # names the file
        assert error.hint


@given(
    shape=st.lists(st.integers(0, 5), max_size=5),
    dtype=st.sampled_from(["u1", "i8", "f4", "?", "S3", "M8[s]", "c8", "O"]),
    labels=st.lists(st.integers(0, 5), max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_npz_of_any_shape_and_type(
    shape: list[int], dtype: str, labels: list[int]
) -> None:
    stream = io.BytesIO()
    arrays = {"images": np.zeros(shape, dtype), "labels": np.zeros(labels, int)}
    np.savez(stream, **arrays)
    valid = dtype == "u1" and len(shape) == 4 and labels == shape[:1]
    if valid:
        images, _ = read_npz(stream.getvalue(), "f")
        assert images.shape == tuple(shape)
    else:
        with pytest.raises(DataError, match="f"):
            read_npz(stream.getvalue(), "f")


# tar


def test_tar_reads_the_wanted_members_only() -> None:
    data = tar_bytes({"a/x": b"1", "a/y": b"2", "b/x": b"3"})
    assert read_tar(data, "f", frozenset({"a/x", "a/z"})) == {"a/x": b"1"}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a/.."])
def test_tar_names_that_point_outside(name: str) -> None:
    data = tar_bytes({"ok": b"", name: b"x"})
    assert error_of(lambda: read_tar(data, "f", frozenset({"ok"}))) == (
        f"f has a member that points outside it: {name}.",
        TRUSTED,
    )


@given(
    parts=st.lists(
        st.sampled_from(["..", ".", "a", "b c", "é"]), min_size=1, max_size=5
    ),
    root=st.sampled_from(["", "/", "./"]),
)
@settings(max_examples=100, deadline=None)
def test_tar_names_of_any_form(parts: list[str], root: str) -> None:
    name = root + "/".join(parts)
    data = tar_bytes({name: b"x"}, compress=False)
    if ".." in parts or root == "/":
        with pytest.raises(DataError, match="points outside it"):
            read_tar(data, "f", frozenset({"a"}))
    else:
        plain = "/".join(part for part in parts if part != ".")
        found = read_tar(data, "f", frozenset({"a", "a/b c"}))
        assert found == ({plain: b"x"} if plain in ("a", "a/b c") else {})


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_tar_links_and_devices_are_passed_over(kind: bytes) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("wanted")
        info.type, info.linkname = kind, "/etc/hostname"
        archive.addfile(info)
    assert read_tar(stream.getvalue(), "f", frozenset({"wanted"})) == {}


def test_tar_members_have_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER", 1 << 20)
    data = tar_bytes({"ignored": bytes((1 << 20) + 1)})
    assert error_of(lambda: read_tar(data, "f", frozenset())) == (
        "ignored in f unpacks to more than 1 MiB.",
        TRUSTED,
    )


def test_tar_archives_have_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_TOTAL", 1 << 20)
    data = tar_bytes({str(number): bytes(1 << 18) for number in range(8)})
    assert len(data) < 10_000
    assert error_of(lambda: read_tar(data, "f", frozenset({"0"}))) == (
        "f unpacks to more than 1 MiB.",
        TRUSTED,
    )


def test_tar_with_a_wrong_checksum_of_gzip() -> None:
    data = bytearray(tar_bytes({"a": b"x"}))
    data[-6] ^= 1  # in the CRC, which stands at the end
    assert error_of(lambda: read_tar(bytes(data), "f", frozenset({"a"}))) == (
        "f is damaged (BadGzipFile).",
        "Fetch or copy it again.",
    )


@given(cut=st.integers(0, 400), flip=st.integers(0, 10_239), compress=st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_tar_give_bytes_or_a_clear_error(
    cut: int, flip: int, compress: bool
) -> None:
    members = {"a": bytes(range(256)), "b": b"y" * 700}
    data = bytearray(tar_bytes(members, compress))
    data[flip % len(data)] ^= 255
    short = bytes(data[: len(data) - cut])
    found, error = outcome(lambda: read_tar(short, "f", frozenset(members)))
    if error is not None:
        assert "f" in error.what.split()
    elif compress:
        assert found == members  # else gzip's checksum would have told
    else:
        assert found.keys() <= members.keys()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_archives(share: float, tmp_path: Path) -> None:
    _, name, members, _, _ = collection("cifar-10-python")
    data = tar_bytes({f"{name}/{member}": data for member, data in members.items()})
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(data[: int(share * len(data))])
    assert error_of(lambda: read_images(path, CIFAR10)) == (
        f"{path} is damaged (EOFError).",
        "Fetch or copy it again.",
    )


def test_gzip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"hello" * 1000))
    assert error_of(lambda: read_images(path, TOY)) == (
        f"{path} is damaged (ReadError).",
        "Fetch or copy it again.",
    )


def test_tar_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes({"cat.png": b"meow"}, compress=False))
    assert error_of(lambda: read_images(path, CIFAR10)) == (
        f"{path} holds no collection that zcbench reads.",
        FORMATS,
    )


# Which file


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n", b"PK\x05\x06"])
def test_unknown_formats(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    assert error_of(lambda: read_images(path, TOY)) == (
        f"{path} is in no format that zcbench reads.",
        FORMATS,
    )


def test_a_truncated_npz_is_damaged(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "x.npz")
    path.write_bytes(path.read_bytes()[:-30])
    assert error_of(lambda: read_images(path, TOY)) == (
        f"{path} is damaged (BadZipFile).",
        "Fetch or copy it again.",
    )


def test_devices_are_refused() -> None:
    what, hint = error_of(lambda: read_images(Path("/dev/null"), TOY))
    assert what == "/dev/null is no regular file of at most 2048 MiB."
    assert hint == FORMATS


def test_unreadable_paths(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    assert error_of(lambda: read_images(path, TOY)) == (
        f"{path} cannot be read: File name too long.",
        "Check the file and its permissions.",
    )


def test_a_folder_without_the_dataset(tmp_path: Path) -> None:
    write_npz(tmp_path / "cifar100.npz")
    assert error_of(lambda: read_images(tmp_path, CIFAR10)) == (
        f"The folder {tmp_path} holds no images of cifar10.",
        "Put an archive, its folder or a file such as cifar10.npz there.",
    )


def test_a_folder_with_two_candidates(tmp_path: Path) -> None:
    for name in ("toy-b.npz", "toy-a.npz"):
        write_npz(tmp_path / name)
    assert error_of(lambda: read_images(tmp_path, TOY)) == (
        f"The folder {tmp_path} holds several files of toy: toy-a.npz, toy-b.npz.",
        "Name the one to use.",
    )
    assert read_images(tmp_path / "toy-b.npz", TOY).name == "npz:toy-b.npz"


def test_the_standard_collection_comes_before_other_files(tmp_path: Path) -> None:
    task, name, members, rows, labels = collection("cifar-10-python")
    write_npz(tmp_path / "cifar10_sample.npz", side=32)
    inside = {f"{name}/{member}": data for member, data in members.items()}
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(tar_bytes(inside))
    assert read_images(tmp_path, task).name == "cifar-10-python:cifar-10-python.tar.gz"
    write_folder(tmp_path / name, members)
    check(read_images(tmp_path, task), task, rows, labels)
    assert read_images(tmp_path, task).name == "cifar-10-python"


@pytest.mark.parametrize(
    ("file", "task", "expected"),
    [
        ("cifar10.npz", "cifar10", True),
        ("CIFAR-10_sample.npz", "cifar10", True),
        ("my-cifar10-v2.npz", "cifar10", True),
        ("cifar100.npz", "cifar10", False),
        ("cifar-10-batches-py", "cifar100", False),
        ("cifar-100-python", "cifar100", True),
        ("ImageNet16", "ImageNet16-120", True),
        ("imagenet16_120_sample.npz", "ImageNet16-120", True),
        ("ImageNet16-150.npz", "ImageNet16-120", False),
        ("anything", "---", False),
    ],
)
def test_names_of_datasets(file: str, task: str, expected: bool) -> None:
    assert names_dataset(file, task) is expected


def test_a_file_called_after_another_dataset(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "cifar10.npz", side=32)
    assert error_of(lambda: read_images(path, CIFAR100)) == (
        f"{path} is called after cifar10, but the dataset is cifar100.",
        "Give a folder with a file for each dataset, or rename the file.",
    )


def test_an_archive_of_another_dataset(tmp_path: Path) -> None:
    _, name, members, _, _ = collection("cifar-10-python")
    inside = {f"{name}/{member}": data for member, data in members.items()}
    path = tmp_path / "images.tar"
    path.write_bytes(tar_bytes(inside, compress=False))
    assert error_of(lambda: read_images(path, CIFAR100)) == (
        f"{path} holds cifar-10-python, but the dataset is cifar100.",
        "Give a folder with an archive for each dataset.",
    )


def test_an_archive_in_the_cache_must_be_the_official_one(tmp_path: Path) -> None:
    _, name, members, _, _ = collection("cifar-10-python")
    inside = {f"{name}/{member}": data for member, data in members.items()}
    folder = image_folder(tmp_path)
    folder.mkdir()
    path = folder / "cifar-10-python.tar.gz"
    path.write_bytes(tar_bytes(inside))
    assert error_of(lambda: open_source("auto", CIFAR10, cache=tmp_path)) == (
        f"{path} does not have the checksum of the official file.",
        "Delete it and fetch it again.",
    )
    chosen = open_source(str(path), CIFAR10)  # named by the user: taken, and shown
    assert chosen.name == "cifar-10-python:cifar-10-python.tar.gz"
