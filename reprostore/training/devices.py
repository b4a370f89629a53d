"""On what a training computes: one CPU, or GPUs through accelerate."""

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from reprostore.errors import DependencyError, SpecError
from reprostore.recipe import RecipeSpec


class Devices:
    """One process on the CPU: nothing is scaled, cast or shared."""

    kind = "cpu"
    device = torch.device("cpu")
    is_main = True
    processes = 1
    rank = 0

    def reseed(self, seed: int, step: int) -> None:
        """Give every process but the first the dropout of its own part of a batch.

        The first goes on with the generators that the training began with, whose state is saved.
        Those of another process follow from seed, process and step, so that a training that is
        continued needs no state of it.
        """
        if self.rank > 0:
            words = np.random.SeedSequence([seed, self.rank, step]).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0]))

    def prepare(self, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401
        """Return network and optimizer as the loop uses them."""
        return network, optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients."""
        # torch does not type it.
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, parameters: list[torch.nn.Parameter], norm: float) -> None:
        """Clip gradients to a norm."""
        torch.nn.utils.clip_grad_norm_(parameters, norm)

    def mean(self, loss: torch.Tensor) -> float:
        """Return the mean of a loss over all processes."""
        return loss.item()

    def wait(self) -> None:
        """Wait until every process is here."""

    def state(self) -> dict[str, Any]:
        """Return the state of the random generators, and of the loss scaling."""
        return {"cpu": torch.get_rng_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        torch.set_rng_state(state["cpu"])


class Accelerated(Devices):
    """One or more GPUs, in as many processes as `accelerate launch` has started."""

    kind = "cuda"

    def __init__(self, precision: str, device: str) -> None:
        if not find_spec("accelerate"):
            raise DependencyError(
                "accelerate is not installed.",
                "Training on GPUs needs it.",
                "Run: pip install 'reprostore[train]', or use --device cpu.",
            )
        # An extra that need not be installed.
        from accelerate import Accelerator  # type: ignore[import-not-found,unused-ignore]

        if ":" in device:
            torch.cuda.set_device(device)
        mixed = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision]
        self._accelerator: Any = Accelerator(mixed_precision=mixed)
        self.device = self._accelerator.device
        self.is_main = self._accelerator.is_main_process
        self.processes = self._accelerator.num_processes
        self.rank = self._accelerator.process_index

    def prepare(self, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Any:  # noqa: ANN401
        """See `Devices`; the network is shared between processes."""
        return self._accelerator.prepare(network, optimizer)

    def autocast(self) -> AbstractContextManager[Any]:
        """See `Devices`; in half precision where the recipe says so."""
        context: AbstractContextManager[Any] = self._accelerator.autocast()
        return context

    def backward(self, loss: torch.Tensor) -> None:
        """See `Devices`; gradients are means over processes."""
        self._accelerator.backward(loss)

    def clip(self, parameters: list[torch.nn.Parameter], norm: float) -> None:
        """See `Devices`."""
        self._accelerator.clip_grad_norm_(parameters, norm)

    def mean(self, loss: torch.Tensor) -> float:
        """See `Devices`."""
        return float(self._accelerator.gather(loss.detach()[None]).mean())

    def wait(self) -> None:
        """See `Devices`."""
        self._accelerator.wait_for_everyone()

    def state(self) -> dict[str, Any]:
        """See `Devices`."""
        scaler = self._accelerator.scaler
        return {
            **super().state(),
            "cuda": torch.cuda.get_rng_state(self.device),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Devices`."""
        super().restore(state)
        torch.cuda.set_rng_state(state["cuda"], self.device)
        if state["scaler"] is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])


def devices_of(recipe: RecipeSpec, device: str) -> Devices:
    """Return the devices of a training.

    Raises
    ------
    SpecError
        The device is not known or not there, or cannot compute in the recipe's precision.
    DependencyError
        There is a GPU, and accelerate is not installed.
    """
    gpu = False
    if device.partition(":")[0] not in ("auto", "cpu", "cuda"):
        raise SpecError(
            f"The device {device!r} is not known.",
            "Devices are cpu, cuda, cuda:1 and so on, or auto.",
            "Choose one of these.",
        )
    if device != "cpu" and torch.cuda.is_available():
        gpu = True
    elif device.startswith("cuda"):
        raise SpecError(
            f"The device {device} was asked for, and torch finds no CUDA device.",
            "--device cuda needs a GPU and a CUDA build of torch.",
            "Use --device cpu, or leave it out.",
        )
    elif recipe.precision != "float32":
        raise SpecError(
            f'The recipe has precision = "{recipe.precision}", and the training would run on the '
            "CPU.",
            "Half precision is for GPUs.",
            'Write precision = "float32", or train where torch finds a CUDA device.',
        )
    found = Accelerated(recipe.precision, device) if gpu else Devices()
    if recipe.batch_size % found.processes:
        raise SpecError(
            f"The batch of {recipe.batch_size} is shared by {found.processes} processes.",
            "Each takes an equal part of every batch.",
            "Choose a multiple as `batch_size`, or start another number of processes.",
        )
    return found
