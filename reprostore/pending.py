"""What is missing in a store for a study: found without loading a model or importing torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprostore.canonical import to_jsonable
from reprostore.closed_items import is_closed_form, is_stored, stored_items
from reprostore.errors import IdentityError
from reprostore.models import weight_digests
from reprostore.parts import WHOLE, Share
from reprostore.samplers import canonical_scheduler
from reprostore.specs import ConditionSpec, DatasetSpec, ModelSpec, RunSpec, SamplerSpec
from reprostore.store import Run, SampleStore
from reprostore.store.identity import first_difference
from reprostore.store.run import WRITTEN


@dataclass(frozen=True)
class RunRequest:
    """A run as a study asks for it: names, and specs as written.

    `dataset_spec` is that of the dataset which `model_spec` was trained on, where the study has it.
    """

    model: str
    sampler: str
    condition: str
    model_spec: ModelSpec
    sampler_spec: SamplerSpec
    condition_spec: ConditionSpec
    dataset_spec: DatasetSpec | None = None

    @property
    def path(self) -> str:
        """Path of the run: model/sampler/condition."""
        return f"{self.model}/{self.sampler}/{self.condition}"


def missing_seeds(
    store: SampleStore,
    request: RunRequest,
    seeds: Sequence[int],
    base: Path,
    dtype: str,
    share: Share = WHOLE,
) -> int:
    """Count the seeds of a run that are not written.

    What is in the store is compared with the study as written and with the digests of the
    model's files; values that a scheduler resolves are compared when work starts.

    Parameters
    ----------
    store : SampleStore
        The store.
    request : RunRequest
        The run.
    seeds : sequence of int
        The seeds it is to have.
    base : Path
        Folder to which paths are relative.
    dtype : str
        In what the model computes.
    share : Share
        The part of the run that is looked at.

    Returns
    -------
    int
        How many of `seeds` are missing. Which of them are in a share is known when the run has all
        of them; until then all that are missing are counted.

    Raises
    ------
    IdentityError
        The run exists and was made from something else.
    NotFoundError
        The model's files do not exist.
    """
    if share.is_empty:
        return 0
    if request.path not in store.run_paths():
        return len(seeds)
    run = store.run(request.path)
    check_as_written(store, run, request, base, dtype)
    status = run.status
    stored = run.seeds[: len(status)]  # another process may add seeds in between
    absent = len(set(seeds).difference(stored.tolist()))
    own = WHOLE if absent else share
    slots = own.slots(stored, seeds, run.unit_length)
    return absent + int((status[slots] != WRITTEN).sum())


def check_as_written(
    store: SampleStore, run: Run, request: RunRequest, base: Path, dtype: str
) -> None:
    """Compare a stored run with what a study asks for under its name, as far as is written.

    The items of a closed form are compared if the store has their dataset, else when it is read
    in again.

    Raises
    ------
    IdentityError
        The run was made from something else.
    NotFoundError
        The model's files do not exist.
    """
    spec, items = request.model_spec, None
    if is_closed_form(spec) and is_stored(store, spec):
        items = stored_items(store, spec, request.dataset_spec, base)
    known = items is not None or not is_closed_form(spec)
    weights = weight_digests(spec, base, items) if known else run.spec.weights
    asked = as_written(request, weights, dtype)
    stored = as_written(_stored_request(run.spec), run.spec.weights, run.spec.compute_dtype)
    if asked != stored:
        raise IdentityError(
            f"The run {request.path} in the store differs from the one asked for: "
            f"{first_difference(stored, asked)}.",
            "A run name stands for one model, sampler and condition.",
            "Give the model or the sampler another name in the study, or write into another store.",
        )


def _stored_request(spec: RunSpec) -> RunRequest:
    return RunRequest(
        model=spec.model,
        sampler=spec.sampler,
        condition=spec.condition,
        model_spec=spec.model_spec,
        sampler_spec=spec.sampler_spec,
        condition_spec=spec.condition_spec,
    )


def as_written(request: RunRequest, weights: dict[str, str], dtype: str) -> dict[str, Any]:
    """Return the part of a run's identity that is known without loading the model."""
    sampler = request.sampler_spec
    identity: dict[str, Any] = to_jsonable(
        {
            "weights": weights,
            "noise_schedule": request.model_spec.noise_schedule,
            "sampler": sampler.model_dump(mode="json", exclude={"record", "scheduler"}),
            "scheduler": canonical_scheduler(sampler.scheduler),
            "steps": sampler.recorded_steps(),
            "condition": request.condition_spec.model_dump(mode="json"),
            "compute_dtype": dtype,
        }
    )
    return identity
