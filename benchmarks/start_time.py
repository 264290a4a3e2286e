"""How long commands and imports take to start, as whole processes.

    python benchmarks/start_time.py [--rounds 11] [--peers-python PYTHON] [--quick] [--json]

Each round starts every command once, after one round that isn't counted. Nothing starts faster than Python itself:
`python -c pass` of the same interpreter is the limit, and an import costs what it takes beyond that. Musts:
`congener --help` in less than 0.25 s, `import congener` in less than 0.1 s beyond the limit, a search of 100,000 images
in less than 1 s. The gallery is 64 painted specimens, indexed before; the large one's features are made (see
`common.blocks`), and it is searched with --no-update. The peers' interpreter is found as peers.py says.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, machine, made_gallery, report, spread
from peers import ask, draw_bars, peers_python

BARE = "python -c pass"
PEERS_BARE = "peers' python -c pass"
LARGE = "congener search, 100,000 images"
MUST = {"congener --help": 0.25, "import congener": 0.1, LARGE: 1}
"""Command -> seconds, which for an import are those beyond the bare interpreter."""

PEERS_IMPORTS = {
    "import torch": "torch",
    "import timm": "timm",
    "import open_clip": "open-clip-torch",
    "from imagededup.methods import CNN": "imagededup",
    "import DeepImageSearch": "DeepImageSearch",
}
"""Import -> the package that must be installed."""


def ours(place: Path) -> dict[str, list[str]]:
    """Return Congener's commands; makes a gallery in `place`."""
    from congener import Gallery
    from congener.cabinet import paint, paint_cabinet

    gallery, query = place / "cabinet", place / "query.jpg"
    paint_cabinet(gallery, specimens=4)
    paint("rose-chafer", 101).save(query, quality=90)
    with Gallery(gallery) as made:
        made.update()
    with made_gallery(100_000, place) as large:
        known = ["--in", str(large.folder), "--gallery", str(large.store_folder), "--no-update", "--json"]
    congener = str(Path(sys.executable).with_name("congener"))
    return {
        BARE: [sys.executable, "-c", "pass"],
        "import congener": [sys.executable, "-c", "import congener"],
        "import numpy, PIL.Image": [sys.executable, "-c", "import numpy, PIL.Image"],
        "congener --help": [congener, "--help"],
        "congener info": [congener, "info", str(gallery), "--json"],
        "congener index, unchanged": [congener, "index", str(gallery), "--json"],
        "congener search": [congener, "search", str(query), "--in", str(gallery), "--json"],
        LARGE: [congener, "search", str(query), *known],
    }


def theirs(python: Path) -> tuple[dict[str, list[str]], dict[str, str], list[str]]:
    """Return the peers' commands, the versions of their packages, and what is missing."""
    if not python.exists():
        return {}, {}, [*PEERS_IMPORTS, "rclip --help"]
    versions = ask(python, "--installed")
    there = [code for code, package in PEERS_IMPORTS.items() if package in versions]
    commands = {PEERS_BARE: [str(python), "-c", "pass"]} | {code: [str(python), "-c", code] for code in there}
    absent = [code for code in PEERS_IMPORTS if code not in there]
    if "rclip" in versions:
        commands["rclip --help"] = [str(python.with_name("rclip")), "--help"]
    else:
        absent.append("rclip --help")
    return commands, versions, absent


def seconds(command: Sequence[str]) -> float:
    """Return how long a process runs, from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(commands: dict[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each command in each round; in turn, so that a change of the machine's speed meets all."""
    for command in commands.values():
        seconds(command)  # compiles what Python hasn't yet, and brings files into memory
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    return taken


def figures(taken: dict[str, list[float]], peers: Sequence[str]) -> dict[str, Any]:
    """Return for each command its seconds, those beyond the bare interpreter, and whether its must is met."""
    result = {}
    for name, values in taken.items():
        bare = taken[PEERS_BARE if name in peers else BARE]
        beyond = statistics.median(value - least for value, least in zip(values, bare, strict=True))
        median = statistics.median(values)
        result[name] = {"seconds": spread(values), "beyond_bare": beyond, "peer": name in peers}
        if must := MUST.get(name):
            counted = beyond if name.startswith("import") else median
            result[name] |= {"must": must, "met": counted < must}
    return result


def as_lines(result: dict[str, Any]) -> list[str]:
    """Return the result for people."""
    info = result["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in result["peers_versions"].items())
    lines = [
        f"{info['cpu']}, {info['cores']} cores, Python {info['python']}, onnxruntime {info['onnxruntime']}, numpy "
        f"{info['numpy']}; peers: {versions or 'none'}; {result['rounds']} rounds; "
        f"the machine's load before: {result['load_before']:.1f}",
    ]
    for name, command in result["commands"].items():
        taken = command["seconds"]
        must = f"; must: {command['must']:g} s, {'met' if command['met'] else 'MISSED'}" if "must" in command else ""
        lines.append(
            f"{name:36}{taken['median']:7.3f} s ({taken['min']:.3f} to {taken['max']:.3f}), "
            f"{command['beyond_bare']:6.3f} s beyond the bare interpreter{must}"
        )
    return [*lines, *(f"{name:36} missing" for name in result["missing"])]


def draw(result: dict[str, Any]) -> None:
    """Draw the plot."""
    bars = {}
    for name, command in result["commands"].items():
        taken = command["seconds"]
        bars[name] = taken["min"], taken["median"], taken["max"]
    info = result["machine"]
    title = f"Start to end of a process; {info['cpu']}, {info['cores']} cores"
    axis = f"seconds, logarithmic: median, min and max of {result['rounds']} rounds"
    lines = {"must of congener --help": MUST["congener --help"]}
    draw_bars(RESULTS / "start_time.png", title, axis, bars, lines, logarithmic=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--peers-python", metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="two rounds; nothing is kept")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    load = os.getloadavg()[0]
    peers, versions, absent = theirs(peers_python(options.peers_python))
    with tempfile.TemporaryDirectory() as place:
        taken = measure(ours(Path(place)) | peers, rounds)
    result = {"machine": machine(), "load_before": load, "peers_versions": versions, "rounds": rounds}
    result["missing"] = absent
    result["commands"] = figures(taken, [*peers])
    if options.quick:  # a look, not a measurement: nothing is kept
        print(json.dumps(result) if options.json else "\n".join(as_lines(result)))
        return
    report("start_time", result, as_lines(result), as_json=options.json)
    draw(result)


if __name__ == "__main__":
    main()
