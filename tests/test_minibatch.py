"""Sources of minibatches: identity, built-in images, options."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zcbench.errors import DataError, UsageError
from zcbench.minibatch import batch_digest, image_folder, open_source
from zcbench.minibatch.builtin import RECIPE, Random, builtin_pixels
from zcbench.minibatch.normalise import normalise, statistics
from zcbench.types import Batch, Task

CIFAR10 = Task("cifar10", (3, 32, 32), 10)
CIFAR100 = Task("cifar100", (3, 32, 32), 100)
IMAGENET16 = Task("ImageNet16-120", (3, 16, 16), 120)
TOY = Task("toy", (3, 8, 8), 4)
GREY = Task("NinaPro", (1, 16, 52), 18)


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    """Forty 8x8 images, image i filled with byte i and labelled i mod 4."""
    path = tmp_path / "toy.npz"
    index = np.arange(40)
    images = np.broadcast_to(index[:, None, None, None], (40, 8, 8, 3))
    np.savez(path, images=images.astype(np.uint8), labels=index % 4)
    return path


def images_in(batch: Batch) -> list[int]:
    """Which of the toy file's images a batch holds, by their constant byte."""
    value = batch.x[:, 0, 0, 0].double() * 0.25 + 0.5
    return (value * 255).round().int().tolist()


@pytest.mark.parametrize("option", ["builtin", "gaussian"])
@pytest.mark.parametrize("task", [CIFAR10, IMAGENET16, TOY, GREY], ids=lambda t: t.name)
def test_made_up_batches_fit_any_task(option: str, task: Task) -> None:
    batch = open_source(option, task).batch(16, seed=0)
    assert batch.x.shape == (16, *task.input_shape)
    assert batch.x.dtype == torch.float32
    assert batch.x.is_contiguous()
    assert torch.isfinite(batch.x).all()
    assert batch.y.shape == (16,)
    assert batch.y.dtype == torch.int64
    assert batch.y.min() >= 0
    assert batch.y.max() < task.n_classes
    assert batch.x.flatten(1).std(1).min() > 0.05  # no image is constant


@pytest.mark.parametrize("option", ["builtin", "gaussian", "file"])
def test_a_batch_depends_on_its_identity_alone(option: str, toy_file: Path) -> None:
    option = str(toy_file) if option == "file" else option
    source = open_source(option, TOY)
    first = batch_digest(source.batch(8, seed=3))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not matter
    source.batch(8, seed=4, repeat=5, index=6)
    assert batch_digest(open_source(option, TOY).batch(8, seed=3)) == first
    others = [
        source.batch(8, seed=4),
        source.batch(8, seed=3, repeat=1),
        source.batch(8, seed=3, index=1),
        source.batch(9, seed=3),
    ]
    if option in ("builtin", "gaussian"):
        others.append(open_source(option, Task("other", (3, 8, 8), 4)).batch(8, seed=3))
    digests = {first, *map(batch_digest, others)}
    assert len(digests) == 1 + len(others)


def test_making_a_batch_leaves_random_states_alone() -> None:
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    open_source("builtin", TOY).batch(4, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002


def test_fewer_images_are_the_first_of_more() -> None:
    source = open_source("builtin", TOY)
    few, many = source.batch(4, seed=0), source.batch(9, seed=0)
    assert torch.equal(few.x, many.x[:4])
    assert torch.equal(few.y, many.y[:4])


def test_real_batches_are_disjoint_until_the_images_run_out(toy_file: Path) -> None:
    source = open_source(str(toy_file), TOY)
    batches = [source.batch(12, seed=0, index=index) for index in range(4)]
    seen = [images_in(batch) for batch in batches]
    assert len({image for images in seen[:3] for image in images}) == 36
    assert len(set(seen[3])) == 12  # the next shuffle, again without repeats
    assert seen[3] != seen[0]
    for batch, images in zip(batches, seen, strict=True):
        assert batch.y.tolist() == [image % 4 for image in images]


@given(n=st.integers(1, 40), index=st.integers(0, 200), seed=st.integers(0, 2**64))
@settings(max_examples=50, deadline=None)
def test_any_real_batch_is_a_sample_without_repeats(
    n: int, index: int, seed: int
) -> None:
    from zcbench.minibatch import _Files
    from zcbench.minibatch.image_files import Images

    pixels = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    images = Images("x", "", pixels, np.arange(40))
    batch = _Files("x", "", Task("x", (1, 1, 1), 40), images).batch(
        n, seed=seed, index=index
    )
    assert len(set(batch.y.tolist())) == n
    assert batch.x.flatten().tolist() == pytest.approx(
        [(y / 255 - 0.5) / 0.25 for y in batch.y.tolist()], abs=1e-6
    )


def test_the_whole_file_can_be_the_batch(toy_file: Path) -> None:
    batch = open_source(str(toy_file), TOY).batch(40, seed=0)
    assert sorted(images_in(batch)) == list(range(40))


def test_too_few_images(toy_file: Path) -> None:
    source = open_source(str(toy_file), TOY)
    with pytest.raises(DataError) as caught:
        source.batch(41, seed=0)
    assert str(caught.value) == (
        "npz:toy.npz has 40 images of toy, but the batch needs 41. "
        "Give more images or lower the batch size."
    )


@pytest.mark.parametrize("wrong", [{"n": 0}, {"repeat": -1}, {"index": -1}])
def test_impossible_batches(wrong: dict[str, int]) -> None:
    asked = {"n": 1, "repeat": 0, "index": 0} | wrong
    with pytest.raises(UsageError) as caught:
        open_source("gaussian", TOY).batch(seed=0, **asked)
    assert str(caught.value) == (
        f"No minibatch has {asked['n']} images, repeat {asked['repeat']} and index "
        f"{asked['index']}. Ask for at least 1 image; repeat and index count from 0."
    )


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("bultin", "Did you mean builtin?"),
        ("Gausian", "Did you mean gaussian?"),
        (
            "no/such/folder",
            "Give an image file or folder, or say auto, builtin or gaussian.",
        ),
        (
            "~nobody-of-this-name/x",
            "Give an image file or folder, or say auto, builtin or gaussian.",
        ),
    ],
)
def test_missing_paths(option: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        open_source(option, TOY)
    assert caught.value.what == f"There is no {option!r} to take images from."
    assert caught.value.hint == hint


def test_auto_takes_the_built_in_images_if_the_cache_has_none(tmp_path: Path) -> None:
    source = open_source("auto", TOY, cache=tmp_path / "nothing yet")
    assert source == open_source("builtin", TOY)
    assert source.name == "builtin"


def test_auto_takes_real_images_from_the_cache(toy_file: Path, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    toy_file.rename(folder / "toy.npz")
    source = open_source("auto", TOY, cache=tmp_path / "cache")
    assert source.name == "npz:toy.npz"
    assert (
        source.digest == hashlib.sha256((folder / "toy.npz").read_bytes()).hexdigest()
    )
    other = open_source("auto", CIFAR10, cache=tmp_path / "cache")
    assert other.name == "builtin"


def test_auto_looks_in_the_cache_that_the_environment_names(
    toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "mine"))
    image_folder(tmp_path / "mine").mkdir(parents=True)
    toy_file.rename(image_folder(tmp_path / "mine") / "toy.npz")
    assert open_source("auto", TOY).name == "npz:toy.npz"


def test_sources_of_different_generators_have_different_digests() -> None:
    digests = {open_source(name, TOY).digest for name in ("builtin", "gaussian")}
    assert len(digests) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


@pytest.mark.parametrize("task", [CIFAR10, IMAGENET16], ids=lambda t: t.name)
def test_builtin_images_have_the_statistics_of_their_dataset(task: Task) -> None:
    x = open_source("builtin", task).batch(256, seed=0).x
    assert x.mean((0, 2, 3)).abs().max() < 0.12
    assert (x.std((0, 2, 3)) - 1).abs().max() < 0.12


def test_builtin_images_look_natural() -> None:
    x = open_source("builtin", CIFAR10).batch(256, seed=1).x.numpy()
    flat = x.transpose(1, 0, 2, 3).reshape(3, -1)
    channels = np.corrcoef(flat)
    assert 0.85 < channels[0, 1] < 0.95  # CIFAR-10: 0.90
    assert 0.7 < channels[0, 2] < 0.9  # 0.78
    grey = x.mean(1)
    centred = grey - grey.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(centred)) ** 2).mean(0)
    axis = np.fft.fftfreq(32)
    radius = np.hypot(axis[:, None], axis)
    band = (radius > 0) & (radius <= 0.5)
    slope = np.polyfit(np.log(radius[band]), np.log(power[band]), 1)[0]
    assert -3.5 < slope < -2.2  # -3.2; white noise has 0
    steps = np.diff(grey, axis=2)
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    assert kurtosis > 6  # 9.7: edges and even patches; Gaussian images have 3


def test_gaussian_noise_is_standard_normal() -> None:
    x = open_source("gaussian", CIFAR10).batch(64, seed=0).x.double()
    assert abs(x.mean().item()) < 0.01
    assert abs(x.std().item() - 1) < 0.01
    assert abs((x**4).mean().item() - 3) < 0.1


def test_labels_are_drawn_as_in_a_random_batch() -> None:
    y = open_source("builtin", TOY).batch(400, seed=0).y
    counts = torch.bincount(y, minlength=4)
    assert counts.min() > 70
    assert counts.unique().numel() > 1  # independent, so not exactly balanced


def test_the_built_in_images_stay_as_they_are() -> None:
    """Committed results rest on them: change VERSION together with this value."""
    pixels = builtin_pixels(2, TOY, 0, "pinned")
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == (
        "17494e961e0c0231a41909f297e0a15a4008fba67e4f73d1ee9dc40cdc1c4fc4"
    )


def test_random_words_are_those_of_pcg64() -> None:
    words = Random("x").words(3)
    assert words.dtype == np.uint64
    assert np.array_equal(words, Random("x").words(3))
    uniform = Random("x").uniform(1000)
    assert 0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1
    assert sorted(Random("x").permutation(50)) == list(range(50))


def test_a_recipe_of_no_texture_gives_flat_leaves() -> None:
    from dataclasses import replace

    flat = builtin_pixels(4, TOY, 0, recipe=replace(RECIPE, texture=0.0))
    rough = builtin_pixels(4, TOY, 0, recipe=replace(RECIPE, texture=1.0))
    assert len(np.unique(flat)) < len(np.unique(rough))


def test_normalisation_is_that_of_the_benchmark() -> None:
    pixels = np.full((1, 3, 1, 1), 255, dtype=np.uint8)
    white = normalise(pixels, CIFAR10)
    assert white.dtype == np.float32
    expected = [(255 - 125.3) / 63.0, (255 - 123.0) / 62.1, (255 - 113.9) / 66.7]
    assert white.flatten() == pytest.approx(expected, rel=1e-6)
    mean, std = statistics(Task("cifar10", (1, 32, 32), 10))  # not its three channels
    assert mean.tolist() == [0.5]
    assert std.tolist() == [0.25]


def test_batch_digest_sees_images_labels_and_shapes() -> None:
    x, y = torch.zeros(2, 3, 2, 2), torch.tensor([0, 1])
    base = batch_digest(Batch(x, y))
    assert re.fullmatch("[0-9a-f]{64}", base)
    assert batch_digest(Batch(x.clone(), y.clone())) == base
    changed = [
        Batch(x + 1e-6, y),
        Batch(x, y.flip(0)),
        Batch(x.reshape(2, 3, 4, 1), y),
        Batch(x, torch.tensor([0, 2])),
    ]
    assert base not in set(map(batch_digest, changed))
    assert len(set(map(batch_digest, changed))) == 4
    strided = torch.zeros(2, 2, 2, 3).permute(0, 3, 1, 2)
    assert batch_digest(Batch(strided, y)) == base


def test_importing_and_opening_needs_no_torch() -> None:
    code = (
        "import sys; from zcbench.minibatch import open_source;"
        "from zcbench.types import Task;"
        "open_source('builtin', Task('toy', (3, 8, 8), 4));"
        "sys.exit(int('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sources_survive_the_trip_to_a_worker(toy_file: Path) -> None:
    import pickle

    for option in ("builtin", str(toy_file)):
        source = open_source(option, TOY)
        copy = pickle.loads(pickle.dumps(source))
        assert batch_digest(copy.batch(4, seed=0)) == batch_digest(
            source.batch(4, seed=0)
        )


def test_shared_folder_serves_all_three_datasets(shared_data: Path) -> None:
    names = {}
    for task in (CIFAR10, CIFAR100, IMAGENET16):
        source = open_source(str(shared_data), task)
        names[task.name] = source.name
        x = source.batch(64, seed=0).x
        assert x.mean((0, 2, 3)).abs().max() < 0.25
        assert (x.std((0, 2, 3)) - 1).abs().max() < 0.2
    assert names == {
        "cifar10": "npz:cifar10_sample.npz",
        "cifar100": "npz:cifar100_sample.npz",
        "ImageNet16-120": "npz:imagenet16_120_sample.npz",
    }
