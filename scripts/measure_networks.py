"""Which proxies are right on well-known architectures, and which say undefined.

    python scripts/measure_networks.py --cache /tmp/networks
    python scripts/measure_networks.py --cache /tmp/networks --only vgg11 --again snip

Builds networks of timm and torchvision at random weights, scores them with every
built-in proxy in float64, and compares each value with the literal references of
tests/literal_references.py. One process a network; what is in the cache is not done
again. Writes the table between `<!-- matrix -->` and `<!-- /matrix -->` of
docs/your-networks.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

import torch  # noqa: E402
from literal_references import (  # noqa: E402
    NotDefined,
    Setting,
    agrees,
    literal,
)
from torch import Tensor, nn  # noqa: E402
from zoo import import_zoo  # noqa: E402

import zcbench  # noqa: E402
from zcbench.proxies import PROXIES  # noqa: E402
from zcbench.report.text import escape_markdown, markdown_table  # noqa: E402

PAGE = ROOT / "docs" / "your-networks.md"
BLOCK = re.compile(r"(<!-- matrix -->\n).*?(<!-- /matrix -->)", re.DOTALL)
CLASSES, IMAGES, SIDE, NOISE = 10, 4, 64, 0.02
AGREES, UNDEFINED, DIFFERS, ERROR, UNKNOWN = "✓", "–", "✗", "error", "?"


def forward_features(net: nn.Module, x: Tensor) -> Tensor:
    """What timm's networks pool."""
    features: Tensor = net.forward_features(x)  # type: ignore[operator]
    return features


def after(name: str) -> Callable[[nn.Module, Tensor], Tensor]:
    """Output of the module of that name, which is what is pooled."""

    def features(net: nn.Module, x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        module = net.get_submodule(name)
        hook = module.register_forward_hook(lambda *args: seen.append(args[2]))
        net(x)
        hook.remove()
        return seen[0]

    return features


def dense(net: nn.Module, x: Tensor) -> Tensor:
    """DenseNet has a ReLU of its own between features and pooling."""
    return after("features")(net, x).relu()


@dataclass(frozen=True, eq=False)
class Network:
    """How to build one.

    Attributes:
        name: as its zoo has it.
        zoo: where it is from.
        arguments: of its builder, such as the size of the images.
        side: of the images.
        features: what its global pooling reads, for zen.
        said: what differs from the published network.
    """

    name: str
    zoo: str = "timm"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    side: int = SIDE
    features: Callable[[nn.Module, Tensor], Tensor] | None = forward_features
    said: str = ""

    def build(self) -> nn.Module:
        """The network, with what draws masks in each pass switched off.

        A little noise on every parameter, since a gamma or head that starts at zero
        hides what is behind it.
        """
        timm, torchvision = import_zoo()
        torch.manual_seed(0)
        if self.zoo == "timm":
            make = partial(timm.create_model, self.name)
        elif self.name[0].isupper():
            make = getattr(torchvision.models, self.name)
        else:
            make = partial(torchvision.models.get_model, self.name)
        net: nn.Module = make(num_classes=CLASSES, **self.arguments)
        for module in net.modules():
            for rate in ("p", "drop_prob", "drop_rate"):
                if isinstance(getattr(module, rate, None), float):
                    setattr(module, rate, 0.0)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += NOISE * torch.randn_like(parameter)
        return net

    def setting(self) -> Setting:
        """The network with a few smooth random images."""
        draw = torch.Generator().manual_seed(1)
        coarse = torch.randn(IMAGES, 3, 6, 6, generator=draw)
        x = nn.functional.interpolate(coarse, (self.side,) * 2, mode="bilinear")
        x += 0.3 * torch.randn(x.shape, generator=draw)
        y = torch.tensor([0, 1, 1, 2])
        return Setting(self.build(), x, y, self.features)


SIZE = {"img_size": SIDE}
_NO_AUXILIARY = {"aux_logits": False, "init_weights": True}
_SMALL_VIT = {
    "image_size": SIDE,
    "patch_size": 16,
    "num_layers": 3,
    "num_heads": 3,
    "hidden_dim": 48,
    "mlp_dim": 96,
}
_SMALL_SWIN = {"embed_dim": 48, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
NETWORKS = (
    Network("resnet18"),
    Network("densenet121", "torchvision", features=dense),
    Network(
        "vgg11",
        arguments={"mlp_ratio": 1 / 16},
        features=after("pre_logits"),
        said="a narrow head",
    ),
    Network("squeezenet1_1", "torchvision", features=after("classifier.2")),
    Network("googlenet", "torchvision", _NO_AUXILIARY, features=after("inception5b")),
    Network(
        "inception_v3", "torchvision", _NO_AUXILIARY, 96, features=after("Mixed_7c")
    ),
    Network("mobilenet_v2", "torchvision", features=after("features")),
    Network("mobilenetv3_small_050"),
    Network("mnasnet0_5", "torchvision", features=after("layers")),
    Network("shufflenet_v2_x0_5", "torchvision", features=after("conv5")),
    Network("efficientnet_b0"),
    Network("ghostnet_050"),
    Network("regnetx_002"),
    Network("regnety_002"),
    Network("nf_resnet26"),
    Network("convnext_atto"),
    Network("poolformer_s12"),
    Network("vit_tiny_patch16_224", arguments=SIZE),
    Network("deit_tiny_distilled_patch16_224", arguments=SIZE),
    Network(
        "VisionTransformer", "torchvision", _SMALL_VIT, said="3 blocks of width 48"
    ),
    Network(
        "swin_tiny_patch4_window7_224",
        arguments={**SIZE, **_SMALL_SWIN},
        said="2 blocks a stage, half as wide",
    ),
    Network("swin_t", "torchvision"),
    Network("mixer_s32_224", arguments=SIZE),
    Network("resmlp_12_224", arguments=SIZE),
    Network("levit_128s", arguments=SIZE),
    Network("mobilevit_xxs"),
    Network("edgenext_xx_small"),
    Network("maxvit_rmlp_pico_rw_256", arguments=SIZE),
)


# --- one network -------------------------------------------------------------------


def measure(
    network: Network, proxies: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each proxy with its score, its reference, and what to make of them."""
    setting = network.setting()
    batch = zcbench.Batch(setting.x, setting.y)
    scores = zcbench.score(setting.net, batch, proxies)
    for name, score in scores.items():
        start = time.perf_counter()
        cell: dict[str, Any] = {"got": score.value, "said": score.message}
        if score.status == "ok":
            cell |= _compared(score.value, name, setting)
        elif score.status in ("undefined", "nan", "inf"):
            cell["cell"] = UNDEFINED
        else:
            cell["cell"] = ERROR
        cell["seconds"] = round(time.perf_counter() - start, 2)
        yield name, cell


def _compared(got: float, name: str, setting: Setting) -> dict[str, Any]:
    try:
        want = literal(name, setting)
    except NotDefined as error:
        return {"cell": UNKNOWN, "reference": str(error)}
    except Exception as error:  # of a reference, to be looked at
        return {"cell": UNKNOWN, "reference": f"{type(error).__name__}: {error}"[:300]}
    return {"cell": AGREES if agrees(got, want) else DIFFERS, "reference": want}


# --- all of them -------------------------------------------------------------------


def run(arguments: argparse.Namespace, network: Network) -> None:
    """One network in this process, on top of what is in the cache."""
    path = arguments.cache / f"{network.name}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    again = set(arguments.again or ())
    wanted = [n for n in arguments.proxies if n not in known or n in again]
    if not wanted:
        return
    for name, cell in measure(network, wanted):
        print(network.name, name, cell, flush=True)
        known[name] = cell
        path.write_text(json.dumps(known, indent=1))


def matrix(cache: Path) -> str:
    """The table with what is to be said about it, from what is in the cache."""
    timm, torchvision = import_zoo()
    files = {n: cache / f"{n.name}.json" for n in NETWORKS}
    cells = {n: json.loads(f.read_text()) for n, f in files.items() if f.is_file()}
    names = [p for p in PROXIES.names() if any(p in c for c in cells.values())]
    networks = [n for n in cells if set(names) <= set(cells[n])]  # done
    letters: dict[str, str] = {}
    rows = []
    for network in networks:
        shown = [_shown(cells[network].get(name, {}), letters) for name in names]
        rows.append((f"{network.name} ({_ZOOS[network.zoo]})", *shown))
    head = ("network", *(f"[{escape_markdown(n)}](proxies.md#{n})" for n in names))
    rows = [(escape_markdown(row[0]), *row[1:]) for row in rows]
    table = markdown_table(head, rows, (False,) * len(head))
    counts = Counter(cells[n][name]["cell"] for n in networks for name in names)
    smaller = [f"{n.name} has {n.said}" for n in networks if n.said]
    sides = [f"{SIDE}×{SIDE}"]
    sides += [f"{n.side}×{n.side} for {n.name}" for n in networks if n.side != SIDE]
    about = (
        f"timm {_plain(timm)} (t), torchvision {_plain(torchvision)} (tv), "
        f"torch {_plain(torch)}. Own initialisation "
        f"with noise of {NOISE} on every parameter, float64, "
        f"{IMAGES} images of {', '.join(sides)}, {CLASSES} classes; "
        f"dropout and drop-path off; auxiliary classifiers off. To be small "
        f"{'; '.join(smaller)}."
    )
    legend = (
        f"{counts[AGREES]} of {counts.total()} cells: {AGREES} the value equals a "
        f"literal reference within a millionth; {counts[UNDEFINED]}: "
        f"{UNDEFINED} undefined, and why; {counts[DIFFERS]}: {DIFFERS} it differs; "
        f"{counts[ERROR]}: {ERROR}."
    )
    if counts[UNKNOWN]:
        legend += f" {counts[UNKNOWN]}: {UNKNOWN} there is no reference."
    reasons = [f"{letter}: {reason}" for reason, letter in letters.items()]
    parts = (_filled(about), table.rstrip(), _filled(legend), *map(_item, reasons))
    return "\n".join(("\n".join(f"{p}\n" for p in parts[:3]), *parts[3:]))


def _plain(library: ModuleType) -> str:
    version: str = library.__version__
    return version.partition("+")[0]


_ZOOS = {"timm": "t", "torchvision": "tv"}


def _filled(text: str) -> str:
    return textwrap.fill(text, 88, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(f"- {text}", 88, subsequent_indent="  ")


def _shown(cell: Mapping[str, Any], letters: dict[str, str]) -> str:
    """The mark, with the letter of the reason why there is no value."""
    if cell.get("cell") != UNDEFINED:
        return str(cell.get("cell", ""))
    said = str(cell["said"]) or "the value is not finite"
    reason = re.sub(r"\d[\d,]*", "some", said).partition(": its activations")[0]
    letter = letters.setdefault(reason, "abcdefghijklmnopqrstuvwxyz"[len(letters)])
    return f"{UNDEFINED} {letter}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder for results")
    parser.add_argument("--only", nargs="+", help="these networks")
    parser.add_argument(
        "--proxies", nargs="+", default=[p.name for p in PROXIES.select("all")]
    )
    parser.add_argument("--again", nargs="+", help="proxies to compute once more")
    parser.add_argument("--alone", action="store_true", help="in this process")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for network in NETWORKS:
        if arguments.only and network.name not in arguments.only:
            continue
        if arguments.alone:
            run(arguments, network)
            continue
        command = [sys.executable, *sys.argv, "--alone", "--only", network.name]
        if subprocess.run(command, check=False).returncode:
            print(f"{network.name} ended without a result", flush=True)
    if not arguments.alone:
        new = f"\n{matrix(arguments.cache)}\n\n"
        text = PAGE.read_text(encoding="utf-8")
        text = BLOCK.sub(lambda match: f"{match[1]}{new}{match[2]}", text)
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
