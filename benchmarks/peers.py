"""How fast a folder is indexed, from files to embeddings: Congener and its peers, side by side.

    python benchmarks/peers.py [FOLDER] [--rounds 5] [--photos N] [--whole] [--peers-python PYTHON] [--quick] [--json]

Each round runs Congener and every peer once, each in a process of its own, with all cores. Counted is what the
user waits for once the network is loaded: list the folder, read, decode, resize, encode, and keep. Imports and the
making of the network are not counted, for anyone. Peers run their own released code with their own defaults for
CPUs; their networks have random weights, since theirs come from hubs: that changes what they say, not how long it
takes. A slow peer takes an even sample of the photos (`Peer.at_most`; --whole lets it take all): it works image by
image or batch by batch, so its rate is the same.

Congener's environment stays without torch. Peers live in another, made as peers-requirements.txt says, and found at
.venv-peers, by CONGENER_PEERS_PYTHON or --peers-python. A peer that isn't installed is named as missing.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, machine, photos, report, spread

MUST = {"vgg16": 40.0}
"""Peer -> how many times as fast Congener must be; 1 where nothing is said."""

Job = tuple[Callable[[], int], dict[str, float | str]]
"""What is timed, which returns the number of images it embedded, and what else to tell."""


# What runs in a peer's process. Each function makes the network and returns what is to be timed.


def congener(folder: Path, place: Path) -> Job:
    """A fresh gallery."""
    from congener import Gallery, load_encoder
    from index_speed import steps

    encoder = load_encoder()
    taken = steps(folder, encoder)  # this loads the network too

    def work() -> int:
        with Gallery(folder, store=place / "store", encoder=encoder) as gallery:
            return gallery.update().indexed

    identity = encoder.identity.as_dict()
    return work, {"limit": cores() / sum(taken.values()), "encoder": f"{identity['name']}, {identity['precision']}"}


def vgg16(folder: Path, place: Path) -> Job:
    """The original system's way: one image at a time, the flattened last feature map kept in an array."""
    import torch
    from PIL import Image
    from torchvision import models
    from torchvision.transforms import functional

    network = models.vgg16(weights=None).features.eval()
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def embed(path: Path) -> Any:
        picture = Image.open(path).convert("RGB").resize((224, 224))
        pixels = functional.normalize(functional.to_tensor(picture), mean, deviation)
        return network(pixels[None]).flatten().numpy()

    def work() -> int:
        with torch.no_grad():
            return len([embed(path) for path in sorted(folder.rglob("*")) if path.is_file()])

    return work, {}


def rclip(folder: Path, place: Path) -> Job:
    """rclip's own indexing (threads that load, batches of 8, ONNX Runtime, SQLite)."""
    os.environ["RCLIP_DATADIR"] = str(place)
    from rclip import db, main, model, model_download

    export_clip(place / model_download.MODEL_SUBDIR / model_download.VISUAL_ONNX)
    network = model.Model()
    network._session_visual_index  # noqa: B018  # made now, not at the first batch
    index = main.RClip(network, db.DB(place / "db.sqlite3"), indexing_batch_size=8, exclude_dirs=None)

    def work() -> int:
        index.ensure_index(str(folder))
        return len(index._get_features(str(folder))[0])

    return work, {}


def export_clip(path: Path) -> None:
    """Write the network of rclip 3 (fp32 ONNX of ViT-B-32-256), in the way of its scripts/convert_model.py."""
    import open_clip
    import torch

    path.parent.mkdir(parents=True)
    visual = open_clip.create_model("ViT-B-32-256", pretrained=None).visual.eval()
    torch.onnx.export(
        visual,
        (torch.randn(1, 3, 256, 256),),
        str(path),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
        opset_version=18,
        dynamo=False,
    )


def deepimagesearch(folder: Path, place: Path) -> Job:
    """DeepImageSearch's own indexing with its default network (CLIP ViT-B-32, batches of 64, FAISS)."""
    import open_clip
    from DeepImageSearch import SearchEngine

    make = open_clip.create_model_and_transforms
    open_clip.create_model_and_transforms = lambda name, pretrained, device: make(name, device=device)
    engine = SearchEngine(index_dir=str(place / "index"))

    def work() -> int:
        return int(engine.index(str(folder)))

    return work, {}


def imagededup(folder: Path, place: Path) -> Job:
    """imagededup's own encoding (MobileNetV3-small, batches of 64, no workers), kept in a dictionary."""
    from imagededup.utils import models

    make = models.models.mobilenet_v3_small
    models.models.mobilenet_v3_small = lambda weights: make(weights=None)
    from imagededup.methods import CNN

    network = CNN(verbose=False)

    def work() -> int:
        return len(network.encode_images(folder, recursive=True))

    return work, {}


def timm(folder: Path, place: Path) -> Job:
    """Congener's network in timm's own loader (batches of 32, a worker for each core), kept in an array."""
    import timm
    import torch
    from timm import data

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    settings = data.resolve_data_config({}, model=network)
    settings = {key: settings[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct")}

    def work() -> int:
        loader = data.create_loader(
            data.create_dataset("", root=str(folder)),
            batch_size=32,
            use_prefetcher=False,
            num_workers=cores(),
            persistent_workers=False,
            **settings,
        )
        with torch.inference_mode():
            return len(torch.cat([network(pixels) for pixels, _ in loader]).numpy())

    return work, {}


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Peer:
    """Whom Congener is held against."""

    what: str
    make: Callable[[Path, Path], Job]
    packages: tuple[str, ...]
    """What must be installed; the first gives the version to show."""
    at_most: int | None = None
    """Photos in a round, or None for all."""


PEERS = {
    "vgg16": Peer("VGG-16, eager torch, one by one", vgg16, ("torch", "torchvision"), 100),
    "rclip": Peer("CLIP ViT-B-32-256, ONNX Runtime, its own code", rclip, ("rclip", "open-clip-torch", "onnx"), 250),
    "deepimagesearch": Peer("CLIP ViT-B-32, eager torch, its own code", deepimagesearch, ("DeepImageSearch",), 250),
    "timm": Peer("EfficientNet-Lite0, eager torch, its own loader", timm, ("timm", "torch"), 500),
    "imagededup": Peer("MobileNetV3-small, eager torch, its own code", imagededup, ("imagededup",)),
}


def run(name: str, folder: Path) -> None:
    """Index a folder in this process, and print how long that took."""
    make = congener if name == "congener" else PEERS[name].make
    with tempfile.TemporaryDirectory() as place:
        work, told = make(folder, Path(place))
        start = time.perf_counter()
        count = work()
        seconds = time.perf_counter() - start
    print("\n" + json.dumps({"images": count, "seconds": seconds} | told))


def installed() -> None:
    """Print the versions of the peers' packages in this interpreter."""
    names = {name for peer in PEERS.values() for name in peer.packages} | {"pillow", "numpy", "onnxruntime"}
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    print(json.dumps(versions))


# What runs in Congener's environment: who is there, the rounds, the figures.


def peers_python(given: str | None) -> Path:
    """Return the interpreter of the peers; it need not exist."""
    return Path(given or os.environ.get("CONGENER_PEERS_PYTHON") or ROOT / ".venv-peers" / "bin" / "python")


def ask(python: Path, *words: object) -> Any:
    """Run this file in another interpreter and return the JSON of its last line."""
    done = subprocess.run([python, __file__, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{python} {' '.join(map(str, words))} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def sample(folder: Path, count: int | None, place: Path) -> Path:
    """Copy evenly chosen photos, so that everyone reads the same kind of file from the same disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    chosen = files if count is None or count >= len(files) else files[:: -(-len(files) // count)]
    for file in chosen:
        copy = place / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return place


def rounds(names: Sequence[str], folders: dict[str, Path], python: Path, count: int) -> dict[str, list[dict[str, Any]]]:
    """Return what each told in each round; in turn, so that a change of the machine's speed meets all."""
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(1, count + 1):
        for name in names:
            answer = ask(Path(sys.executable) if name == "congener" else python, "--run", name, folders[name])
            told[name].append(answer | {"rate": answer["images"] / answer["seconds"]})
            print(f"round {number}: {name} {told[name][-1]['rate']:.1f} images/s", file=sys.stderr)
    return told


def figures(told: dict[str, list[dict[str, Any]]], versions: dict[str, str]) -> dict[str, Any]:
    """Return the medians, and how many times as fast Congener is; ratios are taken within a round."""
    ours = [answer["rate"] for answer in told["congener"]]
    result: dict[str, Any] = {
        "images_per_second": spread(ours),
        "images": told["congener"][0]["images"],
        "encoder": told["congener"][0]["encoder"],
        "limit_images_per_second": spread([answer["limit"] for answer in told["congener"]]),
        "ratio_to_limit": statistics.median(answer["rate"] / answer["limit"] for answer in told["congener"]),
        "peers": {},
    }
    for name, answers in told.items():
        if name == "congener":
            continue
        rates = [answer["rate"] for answer in answers]
        times = statistics.median(our / rate for our, rate in zip(ours, rates, strict=True))
        result["peers"][name] = {
            "what": PEERS[name].what,
            "versions": {package: versions[package] for package in PEERS[name].packages},
            "images": answers[0]["images"],
            "images_per_second": spread(rates),
            "times_as_fast": times,
            "must": MUST.get(name, 1.0),
            "met": times >= MUST.get(name, 1.0),
        }
    return result


def as_lines(result: dict[str, Any]) -> list[str]:
    """Return the result for people."""
    info, versions, ours = result["machine"], result["peers_versions"], result["images_per_second"]
    lines = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}, onnxruntime {info['onnxruntime']}, pillow "
        f"{info['pillow']}; peers: {', '.join(f'{name} {value}' for name, value in versions.items())}",
        f"{result['folder']}, {result['rounds']} rounds; imports and the making of the network are not counted; "
        f"the machine's load before: {result['load_before']:.1f}",
        f"{'congener':16} {ours['median']:7.1f} images/s ({ours['min']:.1f} to {ours['max']:.1f}), "
        f"{result['ratio_to_limit']:.0%} of the {result['limit_images_per_second']['median']:.1f} its steps but the "
        f"fit allow; {result['encoder']}; {result['images']} photos",
    ]
    for name, peer in result["peers"].items():
        rate = peer["images_per_second"]
        lines.append(
            f"{name:16} {rate['median']:7.1f} images/s ({rate['min']:.1f} to {rate['max']:.1f}); congener is "
            f"{peer['times_as_fast']:.1f} times as fast (must: {peer['must']:g}, "
            f"{'met' if peer['met'] else 'MISSED'}); {peer['what']}; {peer['images']} photos"
        )
    return [*lines, *(f"{name:16} missing: {why}" for name, why in result["missing"].items())]


def draw_bars(
    place: Path,
    title: str,
    axis: str,
    bars: dict[str, tuple[float, float, float]],
    lines: dict[str, float],
    *,
    logarithmic: bool = False,
) -> None:
    """Draw medians as bars, with the least and the greatest as whiskers; name: (min, median, max), first on top.

    Bars with "congener" in their name are ours. lines: other values to compare with.
    """
    from matplotlib.figure import Figure

    names, values = list(bars)[::-1], list(bars.values())[::-1]
    medians = [median for _, median, _ in values]
    whiskers = [[median - least for least, median, _ in values], [most - median for _, median, most in values]]
    figure = Figure(figsize=(9, 1.4 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = ["#1f6f5c" if "congener" in name else "#b8b4a8" for name in names]
    axes.barh(names, medians, color=colours, xerr=whiskers, error_kw={"ecolor": "#444444", "capsize": 3, "lw": 1})
    for row, (_, median, most) in enumerate(values):
        axes.annotate(f"{median:.3g}", (most, row), (6, 0), textcoords="offset points", va="center", fontsize=9)
    for (name, value), colour in zip(lines.items(), ("#a03020", "#505050"), strict=False):
        axes.axvline(value, color=colour, ls="--", lw=1, zorder=0, label=f"{name}: {value:.3g}")
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    reach = max([*lines.values(), *(most for _, _, most in values)])
    axes.set_xlim(min(medians) / 2 if logarithmic else 0, (1.6 if logarithmic else 1.1) * reach)
    axes.set_xlabel(axis)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")
    if lines:
        figure.legend(loc="outside lower right", fontsize=8, frameon=False, ncols=len(lines))
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(place, dpi=130)


def draw(result: dict[str, Any]) -> None:
    """Draw the plot."""

    def bar(rate: dict[str, float]) -> tuple[float, float, float]:
        return rate["min"], rate["median"], rate["max"]

    bars = {f"congener\n{result['encoder']}": bar(result["images_per_second"])}
    for name, peer in sorted(result["peers"].items(), key=lambda item: -item[1]["images_per_second"]["median"]):
        bars[f"{name}\n{peer['what'].split(',')[0]}"] = bar(peer["images_per_second"])
    info = result["machine"]
    title = f"A folder of photos, from files to embeddings; {info['cpu']}, {info['cores']} cores"
    lines = {"what congener's steps but the fit allow": result["limit_images_per_second"]["median"]}
    if "vgg16" in result["peers"]:
        lines["40 × VGG-16"] = 40 * result["peers"]["vgg16"]["images_per_second"]["median"]
    draw_bars(RESULTS / "peers.png", title, f"images/s: median, min and max of {result['rounds']} rounds", bars, lines)


def missing(versions: dict[str, str], python: Path) -> dict[str, str]:
    """Return the peers that can't run, and why."""
    if not python.exists():
        return dict.fromkeys(PEERS, "no interpreter of the peers: see benchmarks/peers-requirements.txt")
    absent = {name: [each for each in peer.packages if each not in versions] for name, peer in PEERS.items()}
    return {name: f"{', '.join(packages)} not installed" for name, packages in absent.items() if packages}


def measure(options: argparse.Namespace) -> None:
    """Measure, print and draw."""
    folder = options.folder or photos() / "animals100" / "gallery"
    python = peers_python(options.peers_python)
    versions = ask(python, "--installed") if python.exists() else {}
    lacking, load = missing(versions, python), os.getloadavg()[0]
    names = ["congener", *(name for name in PEERS if name not in lacking)]
    count = 1 if options.quick else options.rounds
    limit = 100 if options.quick else options.photos
    with tempfile.TemporaryDirectory() as place:
        folders: dict[str, Path] = {}
        for name in names:
            at_most = None if name == "congener" or options.whole else PEERS[name].at_most
            least = min((value for value in (at_most, limit) if value is not None), default=None)
            where = Path(place) / str(least)
            folders[name] = where if where.exists() else sample(folder, least, where)
        told = rounds(names, folders, python, count)
    result = {"machine": machine(), "load_before": load, "peers_versions": versions, "folder": folder.name}
    result |= {"rounds": count, "missing": lacking} | figures(told, versions)
    if options.quick:  # a look, not a measurement: nothing is kept
        print(json.dumps(result) if options.json else "\n".join(as_lines(result)))
        return
    report("peers", result, as_lines(result), as_json=options.json)
    draw(result)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, help="an even sample of so many")
    parser.add_argument("--whole", action="store_true", help="slow peers take all photos too")
    parser.add_argument("--peers-python", metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="one round on 100 photos; nothing is kept")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", choices=["congener", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--installed", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.installed:
        installed()
    elif options.run:
        run(options.run, options.folder)
    else:
        measure(options)


if __name__ == "__main__":
    main()
