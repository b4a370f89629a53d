"""Generate what a study asks for and the store does not have."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from reprostore.background import BackgroundWriter
from reprostore.batches import sampled_batch
from reprostore.closed_items import is_closed_form, known_items, stored_items
from reprostore.errors import DriftError
from reprostore.execution import REPRODUCED, check_execution, current_execution
from reprostore.models import load_model, weight_digests
from reprostore.models.base import Model
from reprostore.parts import WHOLE, Share
from reprostore.pending import RunRequest
from reprostore.reproduces import check_reproduces
from reprostore.resolve import prepare
from reprostore.samplers import Sampler, canonical_scheduler
from reprostore.settings import Settings
from reprostore.specs import RunSpec
from reprostore.store import Run, SampleStore, StepTable, Unit
from reprostore.store.identity import check_identity
from reprostore.store.locks import try_lock
from reprostore.store.run import WRITTEN
from reprostore.store.units import UnitWriter
from reprostore.tally import Progress, Tally

POLL_SECONDS = 0.5


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
    existing: SampleStore | None = None,
    shares: Mapping[str, Share] | None = None,
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
    existing : SampleStore, optional
        The store as far as it exists already: the source of a dataset in it is not needed.
    shares : mapping, optional
        What of each run is generated, and waited for, by its path; all of a run that is left out.

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
    by_model = {
        name: [request for request in requests if request.model == name]
        for name in dict.fromkeys(request.model for request in requests)
    }
    for request in requests:  # the cheap mistakes of all runs, before the first is begun
        canonical_scheduler(request.sampler_spec.scheduler)
    for own in by_model.values():
        first = own[0].model_spec
        if not is_closed_form(first):
            weight_digests(first, base)
            continue
        to_come = known_items(existing, first, own[0].dataset_spec, base)
        model = load_model(first, base, device, dtype, to_come)
        for request in own:
            prepare(request, model, {}, batch_size=batch_size, dtype=dtype)
    written: dict[str, int] = {}
    for own in by_model.values():
        first = own[0].model_spec
        closed = is_closed_form(first)
        items = stored_items(writing.store, first, own[0].dataset_spec, base) if closed else None
        model = load_model(first, base, device, dtype, items)
        weights = weight_digests(first, base, items)
        prepared = [
            prepare(request, model, weights, batch_size=batch_size, dtype=dtype) for request in own
        ]
        for spec, sampler in prepared:
            share = (shares or {}).get(spec.path, WHOLE)
            written[spec.path] = writing.fill(spec, sampler, model, seeds, share)
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

    def fill(
        self, spec: RunSpec, sampler: Sampler, model: Model, seeds: Sequence[int], share: Share
    ) -> int:
        """Generate what is missing of a share of a run; return how many samples were written."""
        table = StepTable(sampler.sigma, sampler.alpha, sampler.timestep)
        run = self._existing(spec)
        if run is not None:
            check_identity(run.spec, spec)
            if not self._settings.accept_drift:
                check_execution(self.store, run, self._execution)
                if spec.model_spec.source.startswith("python:"):
                    check_reproduces(run, sampler, model, spec.batch_size)
        run = self.store.add_run(spec, table, seeds)
        tally = Tally(run, seeds, share, self._progress)
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
                    now = run.unit(unit.index)
                    count = int((run.status[now.start : now.stop] != WRITTEN).sum())
                    if count:
                        mine[unit.index] = count
                        self._generate_unit(run, now, sampler, model, writer, tally)
                    writer.submit(lock.release)
                if len(mine) == claimed:  # other processes hold what is left
                    time.sleep(POLL_SECONDS)
        return sum(mine.values())

    @cached_property
    def store(self) -> SampleStore:
        """The store, opened or created when it is first needed."""
        return self._open()

    def _existing(self, spec: RunSpec) -> Run | None:
        exists = spec.path in self.store.run_paths()
        return self.store.run(spec.path) if exists else None

    def _generate_unit(
        self,
        run: Run,
        unit: Unit,
        sampler: Sampler,
        model: Model,
        writer: BackgroundWriter,
        tally: Tally,
    ) -> None:
        if self._number is None:
            self._number = self.store.start_session(self._execution)
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
            unit_writer.session = self.store.start_session(execution)
            unit_writer.accept_drift = True
            unit_writer.finish()


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
