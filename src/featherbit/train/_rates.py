"""The learning rate over a whole run, of one stage or two."""

from __future__ import annotations

from collections.abc import Callable

from ..optim import schedule
from ._recipe import Recipe


def rate_factor(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    """Return a function from step to factor of the learning rate, for `LambdaLR`.

    Args:
        recipe: its schedule runs over all epochs, or over each stage where widening restarts it.
        steps_per_epoch: number of optimizer steps in each epoch, >= 1.
    """
    fall, widening = recipe.schedule, recipe.widening
    final = fall.final_learning_rate / recipe.optimizer.learning_rate

    def stage(epochs: int) -> Callable[[int], float]:
        return schedule(fall.kind, final, epochs=epochs, steps_per_epoch=steps_per_epoch, interval=fall.interval)

    if widening is None or not widening.restart_schedule:
        return stage(recipe.epochs)
    first, second = stage(widening.after_epochs), stage(recipe.epochs - widening.after_epochs)
    steps = widening.after_epochs * steps_per_epoch
    return lambda step: first(step) if step < steps else second(step - steps)
