"""What a recipe's data asks of a network: how it is measured, and what building and training it takes.

There is a class for each kind of data. Everything else in training, from the run folder to the summary, is alike.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from .. import runtime
from ..data import Corpus, Dataset
from ..errors import RecipeError
from ..runtime import Session
from ._evaluate import EVALUATION_STREAMS, evaluate, nats_per_token
from ._metric import ACCURACY, BITS_PER_CHARACTER, PERPLEXITY, Metric

if TYPE_CHECKING:
    from ._lightning import TrainingModule
    from ._recipe import Recipe


class Task(ABC):
    """Data and what is done with it.

    Attributes:
        metric: what a network is measured by.
        facts: what building one takes, ready for a checkpoint.
    """

    metric: Metric
    facts: dict[str, Any]
    splits: ClassVar = ("train", "validation", "test")

    @abstractmethod
    def check(self, recipe: Recipe) -> None:
        """Refuse what the data does not allow.

        Raises:
            RecipeError: the data is too small.
        """

    @abstractmethod
    def module(self, model: nn.Module, recipe: Recipe) -> TrainingModule:
        """Return what Lightning trains."""

    @abstractmethod
    def measure(self, model: nn.Module, split: str) -> float:
        """Return the metric of a model on a split."""

    @abstractmethod
    def measure_packed(self, session: Session, split: str) -> float:
        """Return the metric of a packed network on a split."""

    @abstractmethod
    def describe(self, split: str) -> str:
        """Return what is measured on a split, in words."""


class Classification(Task):
    """Images into classes.

    Args:
        dataset: its splits.
    """

    metric = ACCURACY

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.facts = {"image_shape": list(dataset.image_shape), "classes": dataset.classes}

    def check(self, recipe: Recipe) -> None:
        """Refuse a batch that is larger than the data."""
        examples = len(self.dataset.train)
        if examples < recipe.batch_size:
            raise RecipeError(f"batch_size {recipe.batch_size} is larger than the {examples} training images")

    def module(self, model: nn.Module, recipe: Recipe) -> TrainingModule:
        """Return what Lightning trains."""
        from ._lightning import Classifier

        return Classifier(model, recipe, self)

    def measure(self, model: nn.Module, split: str) -> float:
        """Return the accuracy on a split, in percent."""
        part = getattr(self.dataset, split)
        return evaluate(model, part.images, part.labels)

    def measure_packed(self, session: Session, split: str) -> float:
        """Return the accuracy of a packed network on a split, in percent."""
        part = getattr(self.dataset, split)
        return 100.0 * float((session.predict(part.images.numpy()) == part.labels.numpy()).mean())

    def describe(self, split: str) -> str:
        """Return how many images a split has."""
        return f"{split} split, {len(getattr(self.dataset, split)):,} images"


class LanguageModeling(Task):
    """The next token of a text.

    Args:
        corpus: its parts.
        sequence_length: steps through which gradients go back.
    """

    def __init__(self, corpus: Corpus, sequence_length: int) -> None:
        self.corpus = corpus
        self.sequence_length = sequence_length
        vocabulary = corpus.vocabulary
        self.metric = PERPLEXITY if vocabulary.level == "word" else BITS_PER_CHARACTER
        self.facts = {"level": vocabulary.level, "vocabulary": list(vocabulary.tokens)}

    def check(self, recipe: Recipe) -> None:
        """Refuse more streams than the text has tokens for."""
        tokens = len(self.corpus.train)
        if tokens <= recipe.batch_size:
            raise RecipeError(f"batch_size {recipe.batch_size} is too large for the {tokens} training tokens")

    def module(self, model: nn.Module, recipe: Recipe) -> TrainingModule:
        """Return what Lightning trains."""
        from ._language import LanguageTraining

        return LanguageTraining(model, recipe, self)

    def measure(self, model: nn.Module, split: str) -> float:
        """Return the metric on a split.

        The training text is long: no more of it than the validation text has, from its beginning, is measured.
        """
        return self.figure(nats_per_token(model, self._measured(split)))

    def measure_packed(self, session: Session, split: str) -> float:
        """Return the metric of a packed network on a split, read as `measure` does."""
        tokens = self._measured(split).numpy()
        streams = min(EVALUATION_STREAMS, len(tokens) - 1)
        return self.figure(runtime.nats_per_token(session, tokens, streams=streams))

    def _measured(self, split: str) -> Tensor:
        tokens: Tensor = getattr(self.corpus, split)
        return tokens[: len(self.corpus.validation)] if split == "train" else tokens

    def describe(self, split: str) -> str:
        """Return how many tokens of a split are measured."""
        return f"{split} split, {len(self._measured(split)):,} {self.corpus.vocabulary.level}s"

    def figure(self, nats: float) -> float:
        """Return the metric that nats per token are."""
        if self.metric is PERPLEXITY:
            return torch.tensor(nats, dtype=torch.float64).exp().item()  # infinite where math.exp would raise
        return nats / math.log(2.0)
