"""Good files of every kind, for scripts/fuzz.py to damage."""

from __future__ import annotations

import bz2
import gzip
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

import zcbench
from zcbench.config import RunConfig
from zcbench.engine import run
from zcbench.spaces import load_space

_NETS = """from torch import nn


def one():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))


def two():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3), nn.Linear(3, 2))
"""


def make_good(good: Path) -> None:
    """Write good files of every kind."""
    toy = load_space("toy")
    for name in ("config", "truth", "images", "scores", "report", "nets", "official"):
        (good / name).mkdir(parents=True)
    specs = [toy.architecture(i).spec for i in range(len(toy))]
    archs = good / "config" / "archs.txt"
    archs.write_text("\n".join(specs[:6]) + "\n# and one by its index\n7\n")
    (good / "config" / "archs.csv").write_text("arch\n" + "\n".join(specs[:4]) + "\n")
    base = RunConfig(
        space="toy",
        n="all",
        proxies=("params", "snip", "nwot"),
        minibatch="gaussian",
        batch_size=4,
        workers=1,
        truth="toy",
        out=good / "run",
    )
    run(base)
    run(
        RunConfig(
            space="toy",
            archs=archs,
            proxies=("params",),
            minibatch="gaussian",
            batch_size=4,
            workers=1,
            out=good / "listed",
        )
    )
    (good / "packed").mkdir()
    (good / "packed" / "manifest.json").write_bytes(
        (good / "run" / "manifest.json").read_bytes()
    )
    (good / "packed" / "scores.jsonl.gz").write_bytes(
        gzip.compress((good / "run" / "scores.jsonl").read_bytes())
    )
    _configurations(good / "config")
    _tables(good)
    _images(good)
    _official(good / "official")
    (good / "nets" / "nets.py").write_text(_NETS)
    (good / "nets" / "accuracies.csv").write_text(
        "network,accuracy\none,70\ntwo,71.5\n"
    )


def _configurations(folder: Path) -> None:
    (folder / "run.toml").write_text(
        'space = "toy"\nn = 3\nproxies = ["params", "snip"]\nbatch-size = 4\nseed = 1\n'
        'minibatch = "gaussian"\nworkers = 1\ntruth = "none"\nrepeats = 2\n'
    )
    (folder / "task.toml").write_text(
        'name = "mine"\nspace = "toy"\ninput-shape = [3, 8, 8]\nn-classes = 4\n'
    )


def _tables(good: Path) -> None:
    table = zcbench.load_truth("toy", "toy")[["arch", "val", "test"]]
    table.to_csv(good / "truth" / "truth.csv", index=False)
    table.to_parquet(good / "truth" / "truth.parquet")
    macro = load_space("macro")
    (good / "truth" / "macro.json").write_text(
        json.dumps(
            {
                macro.architecture(i).spec: {
                    "test_acc": [90.0, 91.0, 92.0],
                    "params": 10,
                    "flops": 20,
                }
                for i in range(len(macro))
            }
        )
    )
    scores = zcbench.load_run(good / "run")
    scores[["arch", "params", "snip"]].to_csv(
        good / "scores" / "scores.csv", index=False
    )
    entries = {
        row.arch: {"snip": {"score": row.snip, "time": 0.1}}
        for row in scores.itertuples()
    }
    (good / "scores" / "scores.json").write_text(json.dumps({"toy": entries}))
    from zcbench.report import make_report, render

    report = make_report([scores], sections=["correlations", "agreement"])
    (good / "report" / "report.json").write_text(render(report, "json"))


def _images(good: Path) -> None:
    rng = np.random.default_rng(0)
    task = load_space("toy").tasks["toy"]
    _, height, width = task.input_shape
    images = rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    np.savez(good / "images" / "toy.npz", images=images, labels=np.arange(8) % 2)
    rows = rng.integers(0, 256, (6, 3072), dtype=np.uint8)
    labels = [i % 10 for i in range(6)]
    content = pickle.dumps({b"data": rows, b"labels": labels}, 2)
    python, binary = (good / "cifar" / f"cifar-10-batches-{k}" for k in ("py", "bin"))
    for folder in (python, binary):
        folder.mkdir(parents=True)
    (python / "data_batch_1").write_bytes(content)
    both = np.c_[np.array(labels, np.uint8), rows]
    (binary / "data_batch_1.bin").write_bytes(both.tobytes())
    with tarfile.open(good / "cifar" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(python, arcname=python.name)


def _official(folder: Path) -> None:
    import torch
    from nas_201_api import ArchResults, ResultsCount

    spec = load_space("nb201").architecture(1234).spec
    full, less = ArchResults(0, spec), ArchResults(0, spec)
    for epochs, results in ((2, full), (1, less)):
        curve = {i: 50.0 + i for i in range(epochs)}
        trial = ResultsCount(
            "cifar10", None, curve, curve, 0.1, 9.0, {}, 7, epochs, None
        )
        trial.update_OLD_eval("ori-test", curve, curve)
        results.update("cifar10", 7, trial)
    infos = {0: {"full": full.state_dict(), "less": less.state_dict()}}
    content = {"meta_archs": [spec], "arch2infos": infos, "evaluated_indexes": {0}}
    torch.save(content, folder / "NAS-Bench-201.pth")
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    sizes = folder / "NATS-sss"
    sizes.mkdir()
    pickled: dict[str, Any] = {"meta": {"meta_archs": ["8:8:8:8:8"]}}
    trial = {"epochs": 90, "eval_acc1es": {"ori-test@89": 85.0}, "params": 0.1}
    pickled["000000"] = {
        "90": {"arch_str": "8:8:8:8:8", "all_results": {("cifar10", 777): trial}},
        "12": {"arch_str": "8:8:8:8:8", "all_results": {}},
    }
    for name, value in pickled.items():
        packed = bz2.compress(pickle.dumps(value, 4))
        (sizes / f"{name}.pickle.pbz2").write_bytes(packed)
    with tarfile.open(folder / "NATS-sss.tar", "w") as archive:
        archive.add(sizes, arcname=sizes.name)
