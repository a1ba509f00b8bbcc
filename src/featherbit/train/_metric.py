"""What the quality of a network is measured by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MetricName = Literal["accuracy", "perplexity", "bits_per_character"]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    Args:
        name: as in files and columns, such as `"bits_per_character"`.
        unit: what follows the number in print.
        higher_is_better: its direction.
        digits: after the decimal point, in print.
    """

    name: MetricName
    unit: str
    higher_is_better: bool
    digits: int = 2

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    def merit(self, value: float) -> float:
        """Return a number that is larger for a better value; NaN is the worst.

        >>> PERPLEXITY.merit(90.0) > PERPLEXITY.merit(100.0)
        True
        """
        if math.isnan(value):
            return -math.inf
        return value if self.higher_is_better else -value

    def text(self, value: float) -> str:
        """Return a value as it is printed.

        >>> ACCURACY.text(98.2), PERPLEXITY.text(98.2)
        ('98.20 %', '98.20')
        """
        return f"{value:.{self.digits}f}{self.unit}"


ACCURACY = Metric("accuracy", " %", higher_is_better=True)
PERPLEXITY = Metric("perplexity", "", higher_is_better=False)
BITS_PER_CHARACTER = Metric("bits_per_character", "", higher_is_better=False, digits=3)
METRICS: dict[MetricName, Metric] = {metric.name: metric for metric in (ACCURACY, PERPLEXITY, BITS_PER_CHARACTER)}
