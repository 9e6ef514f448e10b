"""CupDisc beside other servers: the same photographs, the same answers, turn by turn on the same machine.

    python -m benchmarks.peers                    # both tables, into benchmarks/results/
    python -m benchmarks.peers --check            # does each start and answer rightly? nothing is timed
    python -m benchmarks.peers --only FastAPI --table b --seconds 2 --rounds 2 --print
    python -m benchmarks.peers --only FastAPI --table b --processes 2    # as many of CupDisc's as of the peer's

Table (a): each as its documentation teaches. Table (b): each with our engine, precision, threads, `segmenter` and
masks, so that only the server differs.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image
from pycocotools import mask as coco

from benchmarks import load
from benchmarks.machine import cpu_name
from benchmarks.peers import environments, servers
from benchmarks.peers.processes import Server, adopt
from benchmarks.peers.servers import PEERS, Answer, Peer
from benchmarks.photographs import varied

RESULTS = Path(__file__).parents[1] / "results"
CLIENTS = 8
PHOTOGRAPHS = 10
# answers are equal from this mean Dice on, and up to this mean difference of the ratio. In table (a) the peers compute
# in f32 on the whole photograph, CupDisc in the precision of its choice on a reduced one; in table (b) all do the same,
# but a call of another number of images or threads rounds otherwise in bf16
DICE, RATIO = {"a": 0.995, "b": 0.9995}, 0.005
TRIES = 3  # for a server to start: PyTriton gives its second instance one second, which a busy machine may exceed
PORT, PEER_PORT = 18800, 18810  # and the two above, of which MLServer wants its own


@dataclass
class Comparison:
    """What alternating loads showed about CupDisc and one peer."""

    peer: Peer
    package: str = ""
    wrong: str = ""  # why there are no figures
    start_s: float = 0.0
    dice: float = 0.0  # mean of the discs or of the cups, whichever is lower
    ratio: float = 0.0  # mean difference
    ours: list[load.Report] = field(default_factory=list)
    theirs: list[load.Report] = field(default_factory=list)
    cpu_ms: dict[str, float] = field(default_factory=dict)  # of each server, for one photograph
    idle_cores: dict[str, float] = field(default_factory=dict)  # used by each while the other was asked
    memory_mib: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", choices=("a", "b"))
    parser.add_argument("--only", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each")
    parser.add_argument("--processes", type=int, default=1, help="of CupDisc; as it comes there is one")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for a server to start")
    parser.add_argument("--check", action="store_true", help="compare the answers alone")
    parser.add_argument("--print", action="store_true", help="to the screen, not into a file")
    options = parser.parse_args()
    adopt()
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    pythons = {peer.name: _environment(peer) for peer in chosen}
    tables: dict[str, list[Comparison]] = {}
    began = time.monotonic()
    for table in [options.table] if options.table else ["a", "b"]:
        tables[table] = []
        cupdisc = servers.cupdisc(table, options.processes)
        with running(cupdisc, table, PORT, "", options.patience) as (ours, _):
            for peer in chosen:
                print(f"({table}) {peer.name}", file=sys.stderr, flush=True)
                tables[table].append(compare((cupdisc, ours), peer, table, pythons[peer.name], options))
    text = report(tables, options, time.monotonic() - began)
    if options.print or options.check:
        print(text)
    else:
        RESULTS.mkdir(exist_ok=True)
        target = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-peers.md"
        target.write_text(text)
        print(target)
    if options.check and any(one.wrong for found in tables.values() for one in found):
        sys.exit(1)


def _environment(peer: Peer) -> str:
    """Why the environment cannot be made; empty where it is there."""
    try:
        environments.python(peer.environment)
    except subprocess.CalledProcessError as error:
        return "cannot be installed here: " + str(error.output).strip().splitlines()[-1]
    return ""


@contextlib.contextmanager
def running(peer: Peer, table: str, port: int, cannot: str, patience_s: float) -> Iterator[tuple[Server, float]]:
    """The started server, answering, and how many seconds that took.

    Raises:
        RuntimeError: it does not answer.
    """
    if cannot:
        raise RuntimeError(cannot)
    workers = 1 if table == "a" else len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="cupdisc-peer-") as scratch:
        folder, log = environments.ROOT / peer.environment, Path(scratch) / "log"
        command = peer.command(folder, port, workers, Path(scratch))
        photograph = next(varied(1))
        tries, began = 0, time.monotonic()
        server = None
        try:
            while True:
                if server is None or server.process.poll() is not None:
                    if tries == TRIES:
                        raise RuntimeError(f"does not start here: {' / '.join(last_words(log))}")
                    tries, began = tries + 1, time.monotonic()
                    if server:
                        server.stop()
                    homes = dict.fromkeys(("XDG_CACHE_HOME", "BENTOML_HOME", "PYTRITON_HOME"), scratch)
                    variables = servers.variables(peer, table, port, workers)
                    server = Server(command, Path(scratch), log, variables | homes)
                try:
                    ask(peer, port, photograph)
                    break
                except (httpx2.HTTPError, ValueError, KeyError) as error:
                    if time.monotonic() - began > patience_s:
                        raise RuntimeError(f"does not answer: {error!r}; {' / '.join(last_words(log))}") from error
                    time.sleep(0.2)
            yield server, time.monotonic() - began
        finally:
            if server:
                server.stop()


def last_words(log: Path) -> list[str]:
    """What a server wrote last."""
    return log.read_text(errors="replace").strip().splitlines()[-3:]


def ask(peer: Peer, port: int, photograph: bytes) -> Answer:
    """One answer, read whole."""
    headers = {"Content-Type": peer.content_type, **dict(peer.headers)}
    url = f"http://127.0.0.1:{port}{peer.path}"
    answer = httpx2.post(url, content=peer.body(photograph), headers=headers, timeout=60.0).raise_for_status()
    return peer.read(answer.content, {name.lower(): value for name, value in answer.headers.items()})


def compare(
    running_cupdisc: tuple[Peer, Server], peer: Peer, table: str, cannot: str, options: argparse.Namespace
) -> Comparison:
    """Start a peer, see that it answers as CupDisc does, then load both in turn."""
    found = Comparison(peer)
    cupdisc, ours = running_cupdisc
    photographs = list(varied(PHOTOGRAPHS))
    try:
        with running(peer, table, PEER_PORT, cannot, options.patience) as (theirs, found.start_s):
            found.package = f"{peer.package} {environments.version(peer.environment, peer.package)}"
            pairs = [(ask(cupdisc, PORT, each), ask(peer, PEER_PORT, each)) for each in photographs]
            found.dice, found.ratio = differences(pairs)
            if found.dice < DICE[table] or found.ratio > RATIO:
                raise RuntimeError(f"answers otherwise: Dice {found.dice:.4f}, vCDR {found.ratio:.4f}")
            if not options.check:
                both = (cupdisc, ours, PORT), (peer, theirs, PEER_PORT)
                take_turns(found, *both, photographs, options.rounds, options.seconds)
    except (RuntimeError, httpx2.HTTPError) as error:
        found.wrong = str(error)
        print(f"  {error}", file=sys.stderr, flush=True)
    return found


def take_turns(
    found: Comparison,
    ours: tuple[Peer, Server, int],
    theirs: tuple[Peer, Server, int],
    photographs: Sequence[bytes],
    rounds: int,
    seconds: float,
) -> None:
    """The same load on one, then on the other, several times; the first turns of two seconds do not count."""
    both = {ours[0].name: (*ours, found.ours), theirs[0].name: (*theirs, found.theirs)}
    for number in range(rounds + 1):
        for name, (peer, server, port, reports) in both.items():
            other = next(each for each in both.values() if each[1] is not server)
            before, idle_before = server.cpu_s(), other[1].cpu_s()
            bodies = [peer.body(each) for each in photographs]
            headers = {"Content-Type": peer.content_type, **dict(peer.headers)}
            report = asyncio.run(
                load.run(
                    f"http://127.0.0.1:{port}", bodies, CLIENTS, seconds if number else 2.0,
                    path=peer.path, headers=headers,
                )
            )  # fmt: skip
            if report.errors or not report.took_ms():
                raise RuntimeError(f"{name} answers {report.outcomes} under load")
            if number:
                reports.append(report)
                found.cpu_ms[name] = found.cpu_ms.get(name, 0.0) + (server.cpu_s() - before) * 1000
                idle = (other[1].cpu_s() - idle_before) / report.seconds / rounds
                found.idle_cores[other[0].name] = found.idle_cores.get(other[0].name, 0.0) + idle
    for name, (_, server, _, reports) in both.items():
        found.cpu_ms[name] /= sum(len(each.took_ms()) for each in reports)
        found.memory_mib[name] = server.memory_mib()


def differences(pairs: Sequence[tuple[Answer, Answer]]) -> tuple[float, float]:
    """The mean Dice of the discs or of the cups, whichever is lower, and the mean difference of the vertical ratio."""
    dice: dict[str, list[float]] = {"disc": [], "cup": []}
    ratios = []
    for ours, theirs in pairs:
        known = [vertical(answer) for answer in (ours, theirs)]
        if (known[0] is None) != (known[1] is None):
            raise RuntimeError("does not find the same photographs gradable")
        ratios.append(abs((known[0] or 0.0) - (known[1] or 0.0)))
        for name, values in dice.items():
            mine, other = mask(ours, name), mask(theirs, name)
            if mine is None or other is None or mine.shape != other.shape:
                raise RuntimeError(f"gives a {name} of another size, or none")
            values.append(2 * int((mine & other).sum()) / max(1, int(mine.sum()) + int(other.sum())))
    return min(statistics.fmean(values) for values in dice.values()), statistics.fmean(ratios)


def vertical(answer: Answer) -> float | None:
    """The ratio in either form of answer."""
    if "cup_to_disc_ratio" in answer:
        ratios = answer["cup_to_disc_ratio"]
        return ratios and ratios["vertical"]
    return answer["vertical"]


def mask(answer: Answer, name: str) -> np.ndarray | None:
    """(H, W) bool from either form of answer; None where there is none."""
    given = answer[name]
    if isinstance(given, str):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(given)))) > 0
    if not given:
        return None
    if given["mask"]["encoding"] == "png":
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(given["mask"]["data"])))) > 0
    return coco.decode({"size": given["mask"]["size"], "counts": given["mask"]["counts"].encode()}) > 0


HEADINGS = {
    "a": "## (a) Each as its documentation teaches\n\n"
    "TensorFlow runs the SavedModel, Pillow decodes the whole photograph and writes PNG masks; one worker, as is each "
    "server's default; CupDisc as it comes, PNG masks too. No claim about a server rests on this table.",
    "b": "## (b) Each with CupDisc's engine, precision, threads, segmenter and masks\n\n"
    "Only the server differs. Every peer has as many workers as there are cores, and they share the cores' threads. "
    "RLE masks.",
}
QUOTED = (
    "For scale, quoted and not measured here: AutoMorph's published way to a cup-to-disc ratio, the mean of eight "
    "networks on each photograph, takes about 1.6 s on two such cores."
)
HEAD = (
    "| server | answers: mean Dice, mean vCDR difference | photographs per s | CupDisc beside it | CupDisc ÷ it | "
    "p50, p99 ms | CupDisc's | CPU ms per photograph | CupDisc's | load generator's | MiB | CupDisc's | "
    "cores used while idle | CupDisc's | start s |\n|" + "---|" * 15
)


def report(tables: dict[str, list[Comparison]], options: argparse.Namespace, took_s: float) -> str:
    """Markdown."""
    processes = "one process, as it comes" if options.processes == 1 else f"{options.processes} processes"
    lines = [
        f"# CupDisc and other servers, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{os.cpu_count()} cores, {cpu_name()}, Python {platform.python_version()}, OpenVINO {version('openvino')}; "
        f"CupDisc {version('cupdisc')} in {processes}. {PHOTOGRAPHS} JPEGs of 0.9 to 7.9 megapixels, {CLIENTS} clients,"
        " each asking again as soon as it is answered; "
        f"{options.rounds} turns of {options.seconds:g} s for each server, CupDisc and the peer in turn, after a turn "
        "that does not count. Ratios are medians over the turns. The load generator shares the cores. "
        f"{took_s / 60:.0f} minutes in all.",
    ]
    for table, comparisons in tables.items():
        lines += ["", HEADINGS[table], "", HEAD]
        lines += [row(one, timed=not options.check) for one in comparisons]
    lines += ["", QUOTED]
    return "\n".join(lines) + "\n"


def row(one: Comparison, timed: bool) -> str:
    """One peer's."""
    name = one.package or one.peer.name
    if one.wrong:
        return f"| {name} | {one.wrong.replace('|', '/')} |" + " |" * 13
    cells = [name, f"{one.dice:.4f}, {one.ratio:.4f}"]
    if timed:
        rates = [(statistics.median(each.rate for each in reports)) for reports in (one.theirs, one.ours)]
        ratio = statistics.median(mine.rate / other.rate for mine, other in zip(one.ours, one.theirs, strict=True))
        generators = [sum(each.cpu_s for each in reports) / sum(len(each.samples) for each in reports) * 1000
                      for reports in (one.theirs, one.ours)]  # fmt: skip
        cells += [f"{rates[0]:.1f}", f"{rates[1]:.1f}", f"{ratio:.2f}", latencies(one.theirs), latencies(one.ours)]
        cells += [f"{one.cpu_ms[who]:.0f}" for who in (one.peer.name, "CupDisc")]
        cells += [f"{generators[0]:.1f}, {generators[1]:.1f}"]
        cells += [f"{one.memory_mib[who]:.0f}" for who in (one.peer.name, "CupDisc")]
        cells += [f"{one.idle_cores[who]:.2f}" for who in (one.peer.name, "CupDisc")]
        cells += [f"{one.start_s:.0f}"]
    else:
        cells += [""] * 13
    return f"| {' | '.join(cells)} |"


def latencies(reports: Sequence[load.Report]) -> str:
    """Median and 99th percentile over all turns."""
    took = [each for one in reports for each in one.took_ms()]
    return f"{load.quantile(took, 0.5):.0f}, {load.quantile(took, 0.99):.0f}"


if __name__ == "__main__":
    main()
