"""Pictures of measured rows: latency against bits, batch and threads, and single layers side by side.

What is drawn follows from the cases' names: `NETWORK-w1a2-batch8` is a point of a network's pictures,
`conv-3x3-56x64-w1a1` a group of bars. A picture that would have a single point is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._run import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS = "featherbit"
_NETWORK = re.compile(r"(?P<network>.+)-w(?P<weight>\d)a(?P<activation>\d)-batch(?P<batch>\d+)")
_LAYER = re.compile(r"conv-(?P<layer>\dx\d-\d+x\d+)-(?P<widths>w\da\d)")
_SIZE_INCHES, _DOTS = (7.0, 4.5), 120


@dataclass(frozen=True)
class Point:
    """One contestant's latency in one case.

    Args:
        network: the case's name without its bits and batch.
        weight_bits: of ours.
        activation_bits: of ours.
        batch: images in a call.
        threads: of each contestant.
        who: `OURS` or the peer's name.
        ms: of one call.
    """

    network: str
    weight_bits: int
    activation_bits: int
    batch: int
    threads: int
    who: str
    ms: float

    @property
    def bits(self) -> str:
        """The widths as in the case's name."""
        return f"w{self.weight_bits}a{self.activation_bits}"

    @property
    def ms_per_image(self) -> float:
        """What the pictures show."""
        return self.ms / self.batch


def plot(rows: Iterable[Row], folder: Path) -> list[Path]:
    """Draw what the rows allow.

    Args:
        rows: measured; those of missing peers are passed over.
        folder: made if it is not there.

    Returns:
        The PNG files written.
    """
    measured = [row for row in rows if row.ours_ms is not None]
    found = points(measured)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for network in dict.fromkeys(point.network for point in found):
        ours = [point for point in found if point.network == network]
        for name, choose, x_label, place in _VIEWS:
            chosen = choose(ours)
            if len({place(point) for point in chosen}) > 1:
                written.append(_draw_lines(chosen, network, x_label, place, folder / f"{network}-{name}.png"))
    return [*written, *_draw_layers(measured, folder)]


def points(rows: Iterable[Row]) -> list[Point]:
    """Return the latencies of the rows whose case is a network.

    Ours is there once per case and threads.
    """
    found: dict[tuple[str, int, str], Point] = {}
    for row in rows:
        match = _NETWORK.fullmatch(row.case)
        if match is None or row.ours_ms is None or row.peer_ms is None:
            continue
        name, sizes = match["network"], (int(match["weight"]), int(match["activation"]), int(match["batch"]))
        for who, ms in ((OURS, row.ours_ms), (row.peer, row.peer_ms)):
            found.setdefault((row.case, row.threads, who), Point(name, *sizes, row.threads, who, ms))
    return list(found.values())


def _against_bits(found: Sequence[Point]) -> list[Point]:
    threads, batch = min(point.threads for point in found), min(point.batch for point in found)
    return [point for point in found if (point.threads, point.batch) == (threads, batch)]


def _against_batch(found: Sequence[Point]) -> list[Point]:
    threads, bits = min(point.threads for point in found), found[0].bits
    return [point for point in found if (point.threads, point.bits) == (threads, bits)]


def _against_threads(found: Sequence[Point]) -> list[Point]:
    batch, bits = min(point.batch for point in found), found[0].bits
    return [point for point in found if (point.batch, point.bits) == (batch, bits)]


_VIEWS: tuple[tuple[str, Callable[[Sequence[Point]], list[Point]], str, Callable[[Point], str]], ...] = (
    ("bits", _against_bits, "bits of weights and activations of ours", lambda point: point.bits),
    ("batch", _against_batch, "images in a call", lambda point: f"{point.batch:4d}"),
    ("threads", _against_threads, "threads", lambda point: f"{point.threads:2d}"),
)


def _draw_lines(chosen: Sequence[Point], network: str, x_label: str, place: Callable[[Point], str], path: Path) -> Path:
    """Draw one line per contestant, milliseconds per image on a logarithmic scale."""
    places = sorted({place(point) for point in chosen})

    def draw(axes: Axes) -> None:
        for who in dict.fromkeys(point.who for point in chosen):
            line = sorted((places.index(place(point)), point.ms_per_image) for point in chosen if point.who == who)
            thick = 2.5 if who == OURS else 1.2
            axes.plot([x for x, _ in line], [y for _, y in line], marker="o", linewidth=thick, label=who)
        axes.set_xticks(range(len(places)), [each.strip() for each in places], rotation=45 if len(places) > 6 else 0)
        axes.set_yscale("log")
        axes.set_xlabel(x_label)
        axes.set_ylabel("ms per image")
        axes.set_title(f"{network}: {_fixed(chosen)}")

    return _save(draw, path)


def _fixed(chosen: Sequence[Point]) -> str:
    """Return what all points have in common, for the title."""
    sizes = {
        "": {point.bits for point in chosen},
        "batch ": {str(point.batch) for point in chosen},
        "threads: ": {str(point.threads) for point in chosen},
    }
    return ", ".join(f"{name}{min(values)}" for name, values in sizes.items() if len(values) == 1)


def _draw_layers(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw one picture of ratios per width and number of threads that have two layers or more."""
    groups: dict[tuple[str, int], list[tuple[str, Row]]] = {}
    for row in rows:
        match = _LAYER.fullmatch(row.case)
        if match is not None:
            groups.setdefault((match["widths"], row.threads), []).append((match["layer"], row))
    return [
        _draw_bars(
            group, f"single convolutions, {widths}, threads: {threads}", folder / f"conv-{widths}-t{threads}.png"
        )
        for (widths, threads), group in groups.items()
        if len({layer for layer, _ in group}) > 1
    ]


def _draw_bars(group: Sequence[tuple[str, Row]], title: str, path: Path) -> Path:
    layers = list(dict.fromkeys(layer for layer, _ in group))
    peers = list(dict.fromkeys(row.peer for _, row in group))

    def draw(axes: Axes) -> None:
        width = 0.8 / len(peers)
        for index, peer in enumerate(peers):
            ratios = {layer: row.ratio for layer, row in group if row.peer == peer and row.ratio is not None}
            places = [layers.index(layer) + (index - (len(peers) - 1) / 2) * width for layer in ratios]
            axes.bar(places, list(ratios.values()), width, label=peer)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(layers)), layers, rotation=20)
        axes.set_xlabel("kernel, then pixels x channels")
        axes.set_ylabel("peer's time / ours")
        axes.set_yscale("log")
        axes.set_title(title)

    return _save(draw, path)


def _save(draw: Callable[[Axes], None], path: Path) -> Path:
    # A figure of its own, without pyplot: no window system is asked for and no state is left behind.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, metadata={"Software": None})
    return path
