"""Learning rate schedules as pure functions of the progress of training.

A factor depends on the step alone, never on a history of calls, so a resumed run has the same rates as an
uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

ScheduleKind = Literal["constant", "exponential", "cosine"]
Interval = Literal["step", "epoch"]


def decay(kind: ScheduleKind, progress: float, final: float) -> float:
    """Return the factor of the learning rate at some point of training.

    Args:
        kind: `"constant"`: 1; `"exponential"`: `final^progress`; `"cosine"`: half a cosine wave from 1 to `final`.
        progress: 0 at the first step, 1 after the last one.
        final: the factor at progress 1, > 0 for `"exponential"`.

    >>> [round(decay("exponential", p, 0.01), 3) for p in (0.0, 0.5, 1.0)]
    [1.0, 0.1, 0.01]
    """
    if kind == "constant":
        return 1.0
    if kind == "exponential":
        return float(final**progress)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def schedule(
    kind: ScheduleKind, final: float, *, epochs: int, steps_per_epoch: int, interval: Interval = "step"
) -> Callable[[int], float]:
    """Return a function from step to factor of the learning rate, for `LambdaLR`.

    Args:
        kind: see `decay`.
        final: the factor at the end of training.
        epochs: number of epochs, >= 1.
        steps_per_epoch: number of optimizer steps in each, >= 1.
        interval: `"step"` changes the rate at each step, `"epoch"` at the start of each epoch.

    >>> factor = schedule("exponential", 0.01, epochs=2, steps_per_epoch=10, interval="epoch")
    >>> [round(factor(step), 2) for step in (0, 9, 10, 19)]
    [1.0, 1.0, 0.1, 0.1]
    """

    def factor(step: int) -> float:
        if interval == "epoch":
            step -= step % steps_per_epoch
        return decay(kind, step / (epochs * steps_per_epoch), final)

    return factor
