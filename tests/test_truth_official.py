"""The official NAS-Bench-201 file, rebuilt small with the package's own classes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from nas_201_api import ArchResults, NASBench201API, ResultsCount

from zcbench.errors import DataError
from zcbench.spaces import load_space
from zcbench.truth import load_truth
from zcbench.truth.nb201_official import TABLE, import_official, read_saved

SETS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}
INDICES = (9_001, 0, 15_624, 1_234)  # the official order is not ours
SEEDS = ((777,), (888, 777), (999, 888, 777), (999,))
OFFICIAL = "The official file is NAS-Bench-201-v1_1-096897.pth."
GIVE = "Give the official file, such as NAS-Bench-201-v1_1-096897.pth."
Content = dict[str, Any]


def trial(rng: np.random.Generator, dataset: str, seed: int, epochs: int) -> Any:
    """One training as the benchmark's new script stored it: every epoch, all times."""

    def curve() -> dict[int, float]:
        return {i: float(rng.uniform(1, 100)) for i in range(epochs)}

    def evaluation() -> dict[str, float]:
        return {
            f"{name}@{i}": float(rng.uniform(1, 100))
            for name in SETS[dataset]
            for i in range(epochs)
        }

    params = np.float64(rng.integers(73_306, 1_531_546) / 1e6)  # as np.sum left it
    config = {"channel": 16, "num_cells": 5, "arch_str": "", "class_num": 10}
    result = ResultsCount(
        dataset, None, curve(), curve(), params, 100.5, config, seed, epochs, None
    )
    result.update_train_info(curve(), curve(), curve(), curve())
    result.update_eval(evaluation(), evaluation(), evaluation())
    result.update_latency([0.01 + seed / 1e6])
    return result


def old_trial(rng: np.random.Generator, dataset: str, seed: int, epochs: int) -> Any:
    """One training of the old script: the last epoch only for some sets, no times."""
    curve = {i: float(rng.uniform(1, 100)) for i in range(epochs)}
    result = ResultsCount(
        dataset, None, curve, curve, 0.8, 100.5, {}, seed, epochs, None
    )
    for number, name in enumerate(SETS[dataset]):
        first = epochs - 1 if number else 0
        accuracies = {i: float(rng.uniform(1, 100)) for i in range(first, epochs)}
        result.update_OLD_eval(name, accuracies, accuracies)
    return result


def official(version: str = "1.1", make: Callable[..., Any] = trial) -> Content:
    rng, space = np.random.default_rng(0), load_space("nb201")
    specs = [space.architecture(index).spec for index in INDICES]
    infos = {}
    for position, spec in enumerate(specs):
        full, less = ArchResults(position, spec), ArchResults(position, spec)
        for dataset in SETS:
            for seed in SEEDS[position]:
                full.update(dataset, seed, make(rng, dataset, seed, 200))
            if version == "1.1" or dataset == "cifar10-valid":
                less.update(dataset, 777, make(rng, dataset, 777, 12))
        infos[position] = {"full": full.state_dict(), "less": less.state_dict()}
    return {
        "meta_archs": specs,
        "total_archs": len(specs),
        "arch2infos": infos,
        "evaluated_indexes": set(range(len(specs))),
    }


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(content: object, folder: Path, *, zipped: bool = True) -> Path:
    file = folder / "NAS-Bench-201-v1_1-096897.pth"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file


def expected(api: Any, position: int, dataset: str, hp: str) -> dict[str, float]:
    """Accuracies by seed, asked from the official API as its manual says."""
    found = {}
    sources = {
        "cifar10": {
            "val": ("cifar10-valid", "x-valid"),
            "test": ("cifar10", "ori-test"),
        }
    }.get(dataset, {"val": (dataset, "x-valid"), "test": (dataset, "x-test")})
    for target, (trained, evaluated) in sources.items():
        for seed, result in api.query_by_index(position, trained, hp).items():
            accuracy = result.get_eval(evaluated)["accuracy"]
            suffix = "_12" if hp == "12" else ""
            place = (777, 888, 999).index(seed)
            found[f"{target}{suffix}_seed{place}"] = accuracy
    return found


# --- import -----------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("make", [trial, old_trial])
def test_every_number_is_the_official_apis(
    tmp_path: Path, cache: Path, make: Callable[..., Any], *, zipped: bool
) -> None:
    content = official(make=make)
    api = NASBench201API(content, verbose=False)
    import_official(save(content, tmp_path, zipped=zipped))
    for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
        table = load_truth("nb201", dataset, "nas-bench-201")
        assert list(table["index"]) == sorted(INDICES)
        for position, index in enumerate(INDICES):
            row = table.set_index("index").loc[index]
            assert row["arch"] == api[position]
            wanted = expected(api, position, dataset, "200")
            wanted |= expected(api, position, dataset, "12")
            got = {c: row[c] for c in table if "_seed" in c and "stored" not in c}
            assert {c: v for c, v in got.items() if not np.isnan(v)} == wanted
            for target in ("val", "test", "val_12", "test_12"):
                seeds = [v for c, v in wanted.items() if c[:-6] == target]
                assert row[target] == pytest.approx(np.mean(seeds), rel=1e-15)
            for seed, result in api.query_by_index(position, dataset, "200").items():
                place = (777, 888, 999).index(seed)
                stored = row[f"stored_params_seed{place}"]
                assert stored == round(result.params * 1e6)
            if make is trial:
                latency = api.get_latency(position, dataset, "200")
                assert row["latency"] == pytest.approx(latency, rel=1e-15)
        assert ("latency" in table) == (make is trial)


def test_columns_and_attributes(tmp_path: Path, cache: Path) -> None:
    file = save(official(), tmp_path)
    record = import_official(file)
    table = load_truth("nb201", "cifar10", "nas-bench-201")
    assert list(table.columns) == [
        *("arch", "index", "val", "test", "val_12", "test_12"),
        *(f"val_seed{s}" for s in range(3)),
        *(f"test_seed{s}" for s in range(3)),
        *("val_12_seed0", "test_12_seed0"),
        *(f"stored_params_seed{s}" for s in range(3)),
        "latency",
    ]
    assert table["index"].dtype == np.int64
    source = hashlib.sha256(file.read_bytes()).hexdigest()
    written = hashlib.sha256(TABLE.path().read_bytes()).hexdigest()
    assert table.attrs == {
        "truth": "nas-bench-201",
        "release": "NAS-Bench-201 v1.1, 200 epochs",
        "digest": source,
        "table_digest": written,
        "training_seeds": [777, 888, 999],
        "epochs": {"val": 200, "test": 200, "val_12": 12, "test_12": 12},
        "space": "nb201",
        "dataset": "cifar10",
        "targets": ["val", "test"],
        "missing": 15_621,
    }
    assert json.loads(json.dumps(table.attrs)) == table.attrs
    assert record == TABLE.record()
    assert (record.source, record.architectures) == (file.name, 4)
    assert sorted(p.name for p in TABLE.path().parent.iterdir()) == [
        "nas-bench-201.csv.gz",
        "nas-bench-201.json",
    ]


def test_version_1_0_has_12_epochs_on_cifar10_validation_only(
    tmp_path: Path, cache: Path
) -> None:
    assert import_official(save(official("1.0"), tmp_path)).release == (
        "NAS-Bench-201 v1.0"
    )
    cifar10 = load_truth("nb201", "cifar10", "nas-bench-201")
    cifar100 = load_truth("nb201", "cifar100", "nas-bench-201")
    assert [c for c in cifar10 if "_12" in c] == ["val_12", "val_12_seed0"]
    assert [c for c in cifar100 if "_12" in c] == []
    assert cifar100.attrs["targets"] == ["val", "test"]


def test_import_is_deterministic_and_replaces(tmp_path: Path, cache: Path) -> None:
    file = save(official(), tmp_path)
    first = import_official(file)
    content = TABLE.path().read_bytes()
    assert import_official(file) == first
    assert TABLE.path().read_bytes() == content


def test_an_architecture_that_was_not_evaluated_is_missing(
    tmp_path: Path, cache: Path
) -> None:
    content = official()
    content["evaluated_indexes"] = [0, 2]
    assert import_official(save(content, tmp_path)).architectures == 2
    table = load_truth("nb201", "cifar100", "nas-bench-201")
    assert list(table["index"]) == [9_001, 15_624]
    assert table.attrs["missing"] == 15_623


def test_a_dataset_without_results(tmp_path: Path, cache: Path) -> None:
    content = official()
    for info in content["arch2infos"].values():
        for kind in ("full", "less"):
            del info[kind]["dataset_seed"]["cifar100"]
    import_official(save(content, tmp_path))
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar100", "nas-bench-201")
    assert str(caught.value) == (
        "NAS-Bench-201-v1_1-096897.pth, which was imported, has no accuracies for "
        "cifar100. Import the official file again: zcbench data import FILE."
    )
    assert len(load_truth("nb201", "cifar10", "nas-bench-201")) == 4


def test_reads_what_torch_reads(tmp_path: Path) -> None:
    """The strict loader of torch, which takes ten times as long, agrees."""
    file = save(official(make=old_trial), tmp_path)
    assert read_saved(file) == torch.load(file, weights_only=True)


# --- malicious and foreign files --------------------------------------------------


class Malicious:
    """Runs code when it is unpickled by the ordinary unpickler."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_runs_nothing(
    tmp_path: Path, cache: Path, *, zipped: bool
) -> None:
    proof = tmp_path / "proof"
    file = save({**official(), "extra": Malicious(proof)}, tmp_path, zipped=zipped)
    torch.load(file, weights_only=False)
    assert proof.exists(), "this test needs a file that does something"
    proof.rmdir()
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert str(caught.value) == (
        f"{file} is not plain data (it names {os.mkdir.__module__}.mkdir); nothing in "
        f"it was run. {GIVE}"
    )
    assert not proof.exists()
    assert not TABLE.path().exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_malicious_pickle_runs_nothing(
    tmp_path: Path, cache: Path, protocol: int
) -> None:
    proof, file = tmp_path / "proof", tmp_path / "x.pth"
    file.write_bytes(pickle.dumps(Malicious(proof), protocol=protocol))
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert str(caught.value) == (
        f"{file} is not plain data (it names {os.mkdir.__module__}.mkdir); nothing in "
        f"it was run. {GIVE}"
    )
    assert not proof.exists()


def test_weights_are_refused(tmp_path: Path, cache: Path) -> None:
    file = save({"x": torch.zeros(2)}, tmp_path)
    with pytest.raises(DataError, match=r"it names torch\._utils\._rebuild_tensor_v2"):
        import_official(file)


def change(how: Callable[[Content], object]) -> Callable[[], Content]:
    def content() -> Content:
        made = official(make=old_trial)
        how(made)
        return made

    return content


def last(position: int, kind: str = "full") -> Callable[[Content], dict[str, float]]:
    """The accuracies of one CIFAR-100 training."""

    def of(content: Content) -> dict[str, float]:
        results = content["arch2infos"][position][kind]["all_results"]
        accuracies: dict[str, float] = results["cifar100", 777]["eval_acc1es"]
        return accuracies

    return of


OUTSIDE = "accuracies are outside 0 to 100; the first is"
CUT, ALL_POOL = (
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
    (
        "|avg_pool_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|"
        "+|avg_pool_3x3~0|avg_pool_3x3~1|avg_pool_3x3~2|"
    ),
)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lambda: [1, 2], "{file} does not hold NAS-Bench-201."),
        (lambda: {"meta_archs": []}, "{file} does not hold NAS-Bench-201."),
        (
            change(lambda c: c["arch2infos"].pop(1)),
            "{file} does not have the structure of NAS-Bench-201 (KeyError: 1).",
        ),
        (
            change(lambda c: c["arch2infos"][2].pop("less")),
            "{file} does not have the structure of NAS-Bench-201 (KeyError: 'less').",
        ),
        (
            change(lambda c: c.update(arch2infos=[])),
            "{file} does not have the structure of NAS-Bench-201 (IndexError: pop from "
            "empty list).",
        ),
        (
            change(lambda c: c["meta_archs"].__setitem__(0, "|conv~0|")),
            "In {file}, '|conv~0|' is not an architecture of nb201.",
        ),
        (
            change(lambda c: c["meta_archs"].__setitem__(0, c["meta_archs"][1])),
            "In {file}, architecture 0 has results of another.",
        ),
        (
            change(lambda c: last(1)(c).update({"x-valid@199": 101.5})),
            f"{{file}}: 1 {OUTSIDE} 101.5 for {CUT}.",
        ),
        (
            change(lambda c: last(1)(c).update({"x-valid@199": "high"})),
            "{file} does not have the structure of NAS-Bench-201 (ValueError: could "
            "not convert string to float: 'high').",
        ),
        (
            change(lambda c: last(2, "less")(c).update({"x-test@11": -0.5})),
            f"{{file}}: 1 {OUTSIDE} -0.5 for {ALL_POOL}.",
        ),
        (
            change(lambda c: last(2)(c).update({"x-test@199": float("inf")})),
            f"{{file}}: 1 {OUTSIDE} inf for {ALL_POOL}.",
        ),
        (
            change(lambda c: c.update(evaluated_indexes=set())),
            "{file} has no accuracies after 200 epochs.",
        ),
    ],
)
def test_foreign_content(
    tmp_path: Path, cache: Path, content: Callable[[], object], what: str
) -> None:
    file = save(content(), tmp_path)
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert caught.value.what == what.format(file=file)
    assert caught.value.hint == OFFICIAL
    assert not TABLE.path().exists()


def test_an_architecture_twice(tmp_path: Path, cache: Path) -> None:
    content = official(make=old_trial)
    content["meta_archs"].append(content["meta_archs"][0])
    content["arch2infos"][4] = content["arch2infos"][0]
    content["evaluated_indexes"].add(4)
    file = save(content, tmp_path)
    with pytest.raises(DataError) as caught:
        import_official(file)
    spec = load_space("nb201").architecture(INDICES[0]).spec
    assert caught.value.what == (
        f"{file}: 1 of 5 architectures repeat another; the first is {spec}."
    )


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, pickle.dumps({}))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (zipped("a.txt"), "{file} was not written by torch.save."),
        (zipped("a/data.pkl", "b/data.pkl"), "{file} was not written by torch.save."),
        (pickle.dumps({"a": 1}), "{file} was not written by torch.save."),
        (
            b"",
            "{file} is not plain data (Ran out of input); nothing in it was run.",
        ),
        (
            b"official_index,arch\n",
            "{file} is not plain data (could not find MARK); nothing in it was run.",
        ),
    ],
    ids=["zip", "two", "pickle", "empty", "csv"],
)
def test_other_files(tmp_path: Path, cache: Path, content: bytes, what: str) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert caught.value.what == what.format(file=file)
    assert caught.value.hint == GIVE


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_truncated_file(tmp_path: Path, cache: Path, *, is_zip: bool) -> None:
    file = save(official(make=old_trial), tmp_path, zipped=is_zip)
    content = file.read_bytes()
    for keep in (10, 1_000, len(content) // 2, len(content) * 9 // 10):
        file.write_bytes(content[:keep])
        with pytest.raises(DataError) as caught:
            import_official(file)
        assert str(file) in caught.value.what


def test_a_damaged_zip(tmp_path: Path, cache: Path) -> None:
    """The checksum of the archive notices a flipped digit of an accuracy."""
    content = official(make=old_trial)
    last(0)(content)["x-valid@199"] = 12.34567890123
    file = save(content, tmp_path)
    number = pickle.dumps(12.34567890123, protocol=2)[3:-1]
    whole = file.read_bytes()
    assert whole.count(number) == 1
    file.write_bytes(whole.replace(number, number[:-1] + b"\x00"))
    with pytest.raises(DataError, match=r"Bad CRC-32"):
        import_official(file)


def test_a_missing_file(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        import_official(tmp_path / "no.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'no.pth'} cannot be read: No such file or directory. {OFFICIAL}"
    )


def test_too_little_memory(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    file = save(official(make=old_trial), tmp_path)
    monkeypatch.setattr("zcbench.truth.nb201_official.read_plain", fail)
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert str(caught.value) == (
        f"There is not enough memory to read {file}. The official file needs about "
        "30 GB, once."
    )


# --- the cache --------------------------------------------------------------------


def test_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    monkeypatch.setenv("ZCBENCH_CACHE", str(tmp_path / "cache"))
    file = save(official(make=old_trial), tmp_path)
    with pytest.raises(DataError) as caught:
        import_official(file)
    assert str(caught.value) == (
        f"{tmp_path / 'cache' / 'truth'} cannot be written: Not a directory. Make room "
        "there, or set ZCBENCH_CACHE to another folder."
    )


def test_a_full_disk_leaves_the_table_that_was_there(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(official(make=old_trial), tmp_path)
    import_official(file)
    before = sorted((p.name, p.read_bytes()) for p in TABLE.path().parent.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(DataError, match=r"cannot be written: No space left on device"):
        import_official(file)
    after = sorted((p.name, p.read_bytes()) for p in TABLE.path().parent.iterdir())
    assert after == before


def test_nothing_was_imported(cache: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10", "nas-bench-201")
    assert str(caught.value) == (
        "The official NAS-Bench-201 file was not imported here. Import it once: "
        "zcbench data import NAS-Bench-201-v1_1-096897.pth."
    )


AGAIN = "Import the official file again: zcbench data import FILE."


def test_a_changed_table(tmp_path: Path, cache: Path) -> None:
    import_official(save(official(make=old_trial), tmp_path))
    table = pd.read_csv(TABLE.path())
    table["cifar10_val_seed0"] = 99.0
    TABLE.path().write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10", "nas-bench-201")
    assert str(caught.value) == (
        f"{TABLE.path()} was changed since it was imported. {AGAIN}"
    )
    TABLE.path().unlink()
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10", "nas-bench-201")
    assert str(caught.value) == (
        f"{TABLE.path()} cannot be read: No such file or directory. {AGAIN}"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff"])
def test_a_damaged_record(tmp_path: Path, cache: Path, content: bytes) -> None:
    import_official(save(official(make=old_trial), tmp_path))
    record = cache / "truth" / "nas-bench-201.json"
    record.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10", "nas-bench-201")
    assert str(caught.value) == f"{record} is damaged. {AGAIN}"


def test_a_record_of_another_version(tmp_path: Path, cache: Path) -> None:
    import_official(save(official(make=old_trial), tmp_path))
    record = cache / "truth" / "nas-bench-201.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema": 2}))
    with pytest.raises(DataError) as caught:
        load_truth("nb201", "cifar10", "nas-bench-201")
    assert str(caught.value) == f"{record} is of another version of zcbench. {AGAIN}"
