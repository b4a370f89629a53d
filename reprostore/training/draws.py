"""All that is drawn for training batches, from one generator on the CPU."""

import math
from dataclasses import dataclass
from typing import Any

import torch


class Draws:
    """Items, noise, noise levels and flips of one batch after the other.

    Items come in epochs, each a new permutation of all of them; a batch that is larger than what
    is left of an epoch goes on in the next, so that every batch is full, however few items
    there are.

    Parameters
    ----------
    count : int
        Number of items.
    seed : int
        Seed of the generator.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self._count = count
        self._left = torch.empty(0, dtype=torch.int64)

    def items(self, batch: int) -> torch.Tensor:
        """Return the positions of the next items, (batch,) int64."""
        parts, there = [self._left], len(self._left)
        while there < batch:
            parts.append(torch.randperm(self._count, generator=self.generator))
            there += self._count
        drawn = torch.cat(parts)
        self._left = drawn[batch:].clone()
        return drawn[:batch]

    def noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return standard normal values, float32."""
        return torch.randn(shape, generator=self.generator)

    def flips(self, batch: int) -> torch.Tensor:
        """Return which items of a batch are flipped, (batch,) bool, half of them on average."""
        return torch.rand(batch, generator=self.generator) < 0.5

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on from here."""
        return {"generator": self.generator.get_state(), "left": self._left}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.generator.set_state(state["generator"])
        self._left = state["left"]


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of every step.

    Attributes
    ----------
    maximum : float
        Reached at the end of the warm-up.
    schedule : str
        "constant", "linear" or "cosine", from there to the end of the training.
    warmup, steps : int
        Steps of the warm-up, and all.
    """

    maximum: float
    schedule: str
    warmup: int
    steps: int

    def at(self, step: int) -> float:
        """Return the learning rate of a step; the first is step 0.

        It is maximum·(step + 1)/warmup before the end of the warm-up; then, with p the share of
        the remaining steps that are done, maximum·(1 − p) or maximum·(1 + cos πp)/2.
        """
        if step < self.warmup:
            return self.maximum * (step + 1) / self.warmup
        done = (step - self.warmup) / (self.steps - self.warmup)
        if self.schedule == "linear":
            return self.maximum * (1 - done)
        if self.schedule == "cosine":
            return self.maximum * (1 + math.cos(math.pi * done)) / 2
        return self.maximum
