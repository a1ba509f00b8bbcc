"""A peer at its best: of several ways to run the same thing, the fastest on this machine is the one that competes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ._case import Peer

Call = Callable[[], object]
_TRIES = 2


def fastest(name: str, variants: Mapping[str, Call]) -> Peer:
    """Return the peer that runs the fastest of some variants.

    Args:
        name: of the peer.
        variants: calls by what they are, one or more; the best of two calls, after a first one, counts.

    Returns:
        The peer; its note names the variant.
    """
    label = next(iter(variants)) if len(variants) == 1 else min(variants, key=lambda each: _best(variants[each]))
    return Peer(name, variants[label], label)


def _best(call: Call) -> float:
    call()
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
