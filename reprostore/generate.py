"""Generate what a study asks for and the store does not have."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reprostore.background import BackgroundWriter
from reprostore.errors import DriftError, ModelError, SpecError
from reprostore.execution import REPRODUCED, check_execution, current_execution
from reprostore.images import to_uint8
from reprostore.models import load_model, weight_digests
from reprostore.models.base import Model
from reprostore.noise import initial_noise, noise_probe, sample_generators
from reprostore.pending import RunRequest
from reprostore.samplers import Sampler, build_sampler, canonical_scheduler
from reprostore.samplers.base import State
from reprostore.specs import ModelSpec, RunSpec
from reprostore.store import Run, SampleStore, StepTable, Unit
from reprostore.store.locks import try_lock
from reprostore.store.run import WRITTEN, seeds_text
from reprostore.store.units import UnitWriter

Progress = Callable[[str, int, int], None]
"""Called after every batch with the run's path, and how many of its samples that were asked for
are finished, and how many there are."""

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Settings:
    """How to compute.

    Attributes
    ----------
    device : str
        "cpu", "cuda", or "auto" for CUDA where there is a device.
    tf32 : bool
        Allow TF32 in matrix products and convolutions on CUDA devices.
    accept_drift : bool
        Continue a run although its execution differs from that of its earlier sessions.
    """

    device: str = "auto"
    tf32: bool = False
    accept_drift: bool = False

    def resolved_device(self) -> str:
        """Return "cpu" or a CUDA device.

        Raises
        ------
        SpecError
            A CUDA device is asked for and there is none.
        """
        available = torch.cuda.is_available()
        if self.device == "auto":
            return "cuda" if available else "cpu"
        if self.device.partition(":")[0] not in ("cpu", "cuda"):
            raise SpecError(
                f"The device {self.device!r} is not known.",
                "Devices are cpu, cuda, cuda:1 and so on, or auto.",
                "Choose one of these.",
            )
        if self.device.startswith("cuda") and not available:
            raise SpecError(
                f"The device {self.device} was asked for, and torch finds no CUDA device.",
                "--device cuda needs a GPU and a CUDA build of torch.",
                "Use --device cpu, or leave it out.",
            )
        return self.device


def prepare(
    request: RunRequest, model: Model, base: Path, *, batch_size: int, dtype: str
) -> tuple[RunSpec, Sampler]:
    """Resolve a run: the sampler with all of its values, and the RunSpec that is recorded.

    Parameters
    ----------
    request : RunRequest
        The run as written in a study.
    model : Model
        The loaded model.
    base : Path
        Folder of the study file.
    batch_size : int
        Samples per forward pass.
    dtype : str
        In what the model computes.

    Raises
    ------
    SpecError, ModelError
        The sampler cannot be used with this model.
    """
    sampler = build_sampler(request.sampler_spec, model)
    spec = RunSpec(
        model=request.model,
        sampler=request.sampler,
        condition=request.condition,
        kind=model.kind,
        sample_dims=model.sample_dims,
        sample_shape=model.sample_shape,
        model_spec=with_parameters(request.model_spec, model),
        sampler_spec=request.sampler_spec,
        condition_spec=request.condition_spec,
        weights=weight_digests(request.model_spec, base),
        scheduler=sampler.identity,
        noise_scale=sampler.noise_scale,
        compute_dtype=dtype,
        stored_dtype=request.sampler_spec.dtype,
        steps=sampler.steps,
        batch_size=batch_size,
    )
    return spec, sampler


def with_parameters(spec: ModelSpec, model: Model) -> ModelSpec:
    """Fill in the number of parameters of a torch network where the study leaves it out."""
    network = getattr(model, "network", None)
    if spec.parameters is None and isinstance(network, torch.nn.Module):
        count = sum(parameter.numel() for parameter in network.parameters())
        return spec.model_copy(update={"parameters": count}) if count else spec
    return spec


def generate(
    store: Callable[[], SampleStore],
    requests: Sequence[RunRequest],
    seeds: Sequence[int],
    base: Path,
    *,
    batch_size: int,
    dtype: str = "float32",
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Generate the missing samples of runs.

    Only missing work units are computed; units that another process is writing are left to it,
    and waited for at the end. A process that is killed loses the units it had not finished.

    Parameters
    ----------
    store : callable
        Returns the store, open for writing. It is called when the first run is ready to be
        written, so that a mistake before that leaves nothing behind.
    requests : sequence of RunRequest
        The runs, as written in a study.
    seeds : sequence of int
        The seeds that each run is to have.
    base : Path
        Folder to which the paths in the requests are relative.
    batch_size : int
        Samples per forward pass; part of the execution.
    dtype : str
        In what models compute.
    settings : Settings, optional
        Device, TF32, drift.
    progress : callable, optional
        Called after every batch.

    Returns
    -------
    dict
        How many samples were written, by run path.

    Raises
    ------
    ReprostoreError
        The model, the sampler, the identity or the execution do not fit; what was finished
        before stays.
    """
    settings = settings or Settings()
    device = settings.resolved_device()
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    torch.backends.cudnn.allow_tf32 = settings.tf32
    execution = current_execution(
        device.partition(":")[0], torch.get_num_threads(), batch_size, tf32=settings.tf32
    ) | {"compute_dtype": dtype}
    writing = _Session(store, execution, settings, progress)
    for request in requests:  # the cheap mistakes of all runs, before the first is begun
        canonical_scheduler(request.sampler_spec.scheduler)
        weight_digests(request.model_spec, base)
    written: dict[str, int] = {}
    for name in dict.fromkeys(request.model for request in requests):
        own = [request for request in requests if request.model == name]
        model = load_model(own[0].model_spec, base, device, dtype)
        for request in own:
            spec, sampler = prepare(request, model, base, batch_size=batch_size, dtype=dtype)
            written[spec.path] = writing.fill(spec, sampler, model, seeds)
    return written


class _Session:
    """Work of one process in a store, recorded as a session when the first unit is begun."""

    def __init__(
        self,
        store: Callable[[], SampleStore],
        execution: dict[str, Any],
        settings: Settings,
        progress: Progress | None,
    ) -> None:
        self._open = store
        self._execution = execution
        self._settings = settings
        self._progress = progress or (lambda path, done, total: None)
        self._number: int | None = None

    def fill(self, spec: RunSpec, sampler: Sampler, model: Model, seeds: Sequence[int]) -> int:
        """Generate what is missing of a run's seeds; return how many samples were written."""
        table = StepTable(sampler.sigma, sampler.alpha, sampler.timestep)
        run = self._existing(spec)
        if run is not None and not self._settings.accept_drift:
            check_execution(self._store, run, self._execution)
        run = self._store.add_run(spec, table, seeds)
        tally = _Tally(run, seeds, self._progress)
        mine: dict[int, int] = {}
        # The locks are freed last, when the writer has ended: also after an error, whose
        # traceback would keep a forgotten lock alive.
        with ExitStack() as locks, BackgroundWriter() as writer:
            while missing := [unit for unit in tally.missing_units() if unit.index not in mine]:
                claimed = len(mine)
                for unit in missing:
                    lock = try_lock(run.store_path, f"{run.group}/unit-{unit.index}")
                    if lock is None:  # another process writes this unit
                        continue
                    locks.callback(lock.release)
                    count = int((run.status[unit.start : unit.stop] != WRITTEN).sum())
                    if count:
                        mine[unit.index] = count
                        self._generate_unit(run, unit, sampler, model, writer, tally)
                    writer.submit(lock.release)
                if len(mine) == claimed:  # other processes hold what is left
                    time.sleep(POLL_SECONDS)
        return sum(mine.values())

    @cached_property
    def _store(self) -> SampleStore:
        return self._open()

    def _existing(self, spec: RunSpec) -> Run | None:
        exists = spec.path in self._store.run_paths()
        return self._store.run(spec.path) if exists else None

    def _generate_unit(
        self,
        run: Run,
        unit: Unit,
        sampler: Sampler,
        model: Model,
        writer: BackgroundWriter,
        tally: "_Tally",
    ) -> None:
        if self._number is None:
            self._number = self._store.start_session(self._execution)
        unit_writer = UnitWriter(run, unit, self._number)
        batch_size = int(self._execution["batch_size"])
        for slots in unit_writer.batches(batch_size):
            seeds = unit_writer.seeds[slots.start - unit.start : slots.stop - unit.start]
            probe, states = sampled_batch(sampler, model, seeds, batch_size, run.spec.stored_dtype)
            unit_writer.put_noise(slots, probe)
            for row, (sample, denoised) in enumerate(states):
                nbytes = sample.nbytes + (0 if denoised is None else denoised.nbytes)
                writer.submit(_Put(unit_writer, slots, row, sample, denoised), nbytes)
            tally.add(slots)
        writer.submit(lambda: self._finish(unit_writer))

    def _finish(self, unit_writer: UnitWriter) -> None:
        """Finish a unit; that written samples came out with other bits is another session."""
        try:
            unit_writer.finish()
        except DriftError:
            if not self._settings.accept_drift:
                raise
            execution = self._execution | {REPRODUCED: False}
            unit_writer.session = self._store.start_session(execution)
            unit_writer.accept_drift = True
            unit_writer.finish()


class _Tally:
    """Which of a run's seeds that were asked for are written, or on their way to the writer."""

    def __init__(self, run: Run, seeds: Sequence[int], progress: Progress) -> None:
        self._run = run
        self._progress = progress
        stored = run.seeds
        self._asked = np.isin(stored, np.asarray(seeds))
        self._done = np.zeros(len(stored), dtype=np.bool_)
        self._reported: int | None = None

    def missing_units(self) -> list[Unit]:
        """Return the units in which a seed that was asked for is not written."""
        status = self._run.status[: len(self._done)]  # another process may have added seeds
        self._done |= status == WRITTEN
        if self._reported is not None:
            self._report()
        slots = np.flatnonzero(self._asked & (status != WRITTEN))
        missing = set((slots // self._run.unit_length).tolist())
        return [unit for unit in self._run.units() if unit.index in missing]

    def add(self, slots: range) -> None:
        """Count a batch that was computed."""
        self._done[slots.start : slots.stop] = True
        self._report()

    def _report(self) -> None:
        done = int((self._done & self._asked).sum())
        if done != self._reported:
            self._reported = done
            self._progress(self._run.path, done, int(self._asked.sum()))


@dataclass(frozen=True)
class _Put:
    """A state on its way to the writer, released as soon as it is written."""

    unit_writer: UnitWriter
    slots: range
    row: int
    sample: NDArray[Any]
    denoised: NDArray[Any] | None

    def __call__(self) -> None:
        self.unit_writer.put(self.slots, self.row, self.sample, self.denoised)


def sampled_batch(
    sampler: Sampler,
    model: Model,
    seeds: NDArray[np.int64],
    batch_size: int,
    stored_dtype: str = "float32",
) -> tuple[NDArray[np.float32], Iterator[tuple[NDArray[Any], NDArray[Any] | None]]]:
    """Sample one batch, padded to its constant size.

    Parameters
    ----------
    sampler : Sampler
        Resolved for this model.
    model : Model
        The model.
    seeds : ndarray
        (n,) with n ≤ `batch_size`; the last seed is repeated as padding, and left out again.
    batch_size : int
        Samples per forward pass: convolutions give other last bits at other sizes.
    stored_dtype : str
        Dtype of the states that are returned.

    Returns
    -------
    probe : ndarray
        (n, 8) float32, the first values of the noise.
    states : iterator
        For each recorded step, sample and denoised, (n, *sample_shape) in the stored dtype. It
        raises ModelError where a sample that is to be rounded to uint8 is not finite; in the
        other dtypes such values pass.
    """
    padded = [*seeds.tolist(), *[int(seeds[-1])] * (batch_size - len(seeds))]
    generators = sample_generators(padded)
    noise = initial_noise(generators, model.sample_shape)

    def states() -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        for state in sampler.sample(noise, generators):
            if stored_dtype == "uint8":
                _require_finite(state, seeds)
            sample = _stored(state.sample[: len(seeds)], stored_dtype)
            denoised = None
            if state.denoised is not None:
                denoised = _stored(state.denoised[: len(seeds)], stored_dtype)
            yield sample, denoised

    return noise_probe(noise)[: len(seeds)], states()


def _require_finite(state: State, seeds: NDArray[np.int64]) -> None:
    fine = torch.isfinite(state.sample[: len(seeds)]).flatten(1).all(dim=1).cpu().numpy()
    if not fine.all():
        raise ModelError(
            f"The model gave samples that are not finite for the seeds {seeds_text(seeds[~fine])} "
            f"after step {state.step}.",
            "Images that are stored as uint8 are finite numbers.",
            "Check the checkpoint and the noise schedule.",
        )


def _stored(state: torch.Tensor, dtype: str) -> NDArray[Any]:
    values: NDArray[Any] = state.to("cpu", torch.float32, copy=True).numpy()
    if dtype == "uint8":
        return to_uint8(values)
    with np.errstate(over="ignore"):  # what does not fit into float16 is refused by the writer
        return values.astype(dtype, copy=False)
