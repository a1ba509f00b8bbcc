"""Runs one case and gives its rows: what `featherbit bench` prints and writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from .. import kernels
from ..errors import InputError
from ._case import Case, Setting
from ._machine import origin
from ._measure import Budget, compare


@dataclass(frozen=True)
class Row:
    """One peer against ours in one case; no figures where the peer is missing.

    Args:
        case: the case's name.
        threads: how many each contestant used.
        peer: the peer's name.
        ratio: median over rounds of peer's time / ours; above 1 ours is faster.
        ratio_low: 10th percentile over rounds.
        ratio_high: 90th percentile over rounds.
        ours_ms: median time of one call of ours.
        peer_ms: median time of one call of the peer's.
        rounds: how many rounds there were.
        isa: the instruction set of ours.
        note: the peer's variant, or why it is missing.
    """

    case: str
    threads: int
    peer: str
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    ours_ms: float | None
    peer_ms: float | None
    rounds: int
    isa: str
    note: str


def run_case(
    case: Case, setting: Setting, budget: Budget, on_round: Callable[[int, int], None] | None = None
) -> tuple[Row, ...]:
    """Build a case, check ours exactly, time it against its peers.

    Args:
        case: which.
        setting: threads, instruction set, seed.
        budget: how long.
        on_round: called with (rounds done, rounds planned).

    Returns:
        One row per peer, missing ones included.

    Raises:
        FeatherbitError: ours differs from torch float32, or the instruction set is not there.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        contest = case.build(setting)
        calls = {peer.name: peer.call for peer in contest.peers if peer.call is not None}
        results = compare(contest.ours, calls, budget, on_round=on_round)
    finally:
        torch.set_num_threads(before)
    isa = setting.isa or kernels.active_isa()
    missing = dict.fromkeys(("ratio", "ratio_low", "ratio_high", "ours_ms", "peer_ms"))
    rows = []
    for peer in contest.peers:
        figures: dict[str, Any] = asdict(results[peer.name]) if peer.name in results else {**missing, "rounds": 0}
        rows.append(Row(case.name, setting.threads, peer.name, isa=isa, note=peer.note, **figures))
    return tuple(rows)


def write_json(rows: Iterable[Row], path: Path) -> None:
    """Write the measured rows as a JSON list, machine, commit and versions in each.

    Args:
        rows: from `run_case`; those of missing peers are left out.
        path: the file; its folder must exist.
    """
    source = origin()
    measured = [{**asdict(row), **source} for row in rows if row.ratio is not None]
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> tuple[Row, ...]:
    """Return the rows of a file that `write_json` wrote.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    names = [field.name for field in fields(Row)]
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Row(**{name: row[name] for name in names}) for row in measured)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no figures that `featherbit bench --json` wrote: {error}") from error
