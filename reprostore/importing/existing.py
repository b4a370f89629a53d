"""What the store holds already under the name of an import, compared with it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.embed import stored_encoder
from reprostore.errors import IdentityError
from reprostore.importing.prepared import PreparedImport
from reprostore.importing.samples import require_same_seeds
from reprostore.layout import probes_agree
from reprostore.seeds import seeds_text
from reprostore.specs import CONTENT
from reprostore.store import Run, SampleStore
from reprostore.store.digest import SeedDigests
from reprostore.store.identity import check_identity, first_difference
from reprostore.store.run import WRITTEN


def state_digests(states: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the digest of each sample of one state, or of each vector, as the store records it.

    Parameters
    ----------
    states : ndarray
        (sample, …).
    """
    digests = SeedDigests(len(states))
    digests.add(states)
    return digests.values()


def check_existing(store: SampleStore, prepared: PreparedImport) -> None:
    """Refuse an import whose names stand for something else in the store.

    Parameters
    ----------
    store : SampleStore
        The store.
    prepared : PreparedImport
        What is to be written.

    Raises
    ------
    IdentityError
        The run, or a sample in it, was made from something else, or vectors of the encoder were.
    SpecError
        Samples are missing that share a work unit with those to be written.
    """
    if prepared.withheld:
        _check_encoder(store, prepared)
    spec = prepared.spec
    if spec.path not in store.run_paths():
        return
    run = store.run(spec.path)
    if run.withheld != prepared.withheld:
        held = ("samples", "vectors of samples")
        raise _other(run, f"it holds {held[run.withheld]}, and these are {held[prepared.withheld]}")
    if CONTENT in run.spec.weights and CONTENT in spec.weights:
        _check_content(run, prepared)
    check_identity(run.spec, spec)
    _check_model(run, prepared)
    if CONTENT not in spec.weights:
        _check_written(run, prepared)
    if prepared.withheld and not set(prepared.samples.seeds) <= set(run.seeds.tolist()):
        raise _other(run, "it has fewer seeds, and a run of vectors does not grow")
    _check_units(run, prepared)


def _other(
    run: Run, how: str, action: str = "Give the model or the sampler another name."
) -> IdentityError:
    return IdentityError(
        f"The run {run.path} in the store is something else than what is to be imported: {how}.",
        "A run name stands for one set of samples.",
        action,
    )


def _check_content(run: Run, prepared: PreparedImport) -> None:
    stored, asked = run.spec, prepared.spec
    same_kind = stored.scheduler == asked.scheduler and stored.noise == asked.noise
    if same_kind and stored.weights != asked.weights:
        raise _other(
            run,
            "it was imported from other files, seeds or noise",
            "Give the model or the sampler another name. Where these are more seeds of the same "
            "model, join the files into one, or name its checkpoint with --weights at every "
            "import, from the first on.",
        )


def _check_encoder(store: SampleStore, prepared: PreparedImport) -> None:
    name = str(prepared.request.encoder)
    stored = stored_encoder(store, name)
    asked = prepared.request.encoder_identity()
    if stored is not None and stored.identity != asked:
        raise IdentityError(
            f"The store has vectors of an encoder {name!r} of which "
            f"{first_difference(stored.identity, dict(asked))}.",
            "Vectors are compared only with those of the same encoder, and nothing shows that "
            "these are.",
            "Import the vectors under another name of the encoder, or with the same weights and "
            "metric as those that were imported before.",
        )


def _check_model(run: Run, prepared: PreparedImport) -> None:
    """Refuse what is said of the model and differs from what was recorded: it would be ignored."""
    said = prepared.spec.model_spec.model_dump(mode="json", exclude_none=True)
    recorded = run.spec.model_spec.model_dump(mode="json")
    recorded = {key: recorded[key] for key in said}
    if recorded != said:
        raise IdentityError(
            f"Of the model of the run {run.path}, {first_difference(recorded, said)}.",
            "What is said of a model at its first import is recorded, and never changed.",
            f"Say it in a study, under [models.{run.spec.model}], which comes before what is "
            "recorded; or leave it out here.",
        )


def _check_written(run: Run, prepared: PreparedImport) -> None:
    """Compare the samples of seeds that the store has already with those of the source."""
    slots, seeds = run.written()
    common = np.isin(seeds, prepared.samples.seeds)
    slots, seeds = slots[common], seeds[common]
    digests, probes = run.recorded("digest"), run.recorded("noise_probe")
    for start in range(0, len(slots), prepared.spec.batch_size):
        part = slice(start, start + prepared.spec.batch_size)
        states, found = prepared.states(seeds[part])
        differ = state_digests(states) != digests[slots[part]]
        recorded = probes[slots[part]]
        absent = np.isnan(found) & np.isnan(recorded)
        differ |= ~(probes_agree(found, recorded) | absent).all(axis=1)
        if differ.any():
            raise _other(
                run, f"the samples or the noise of the seeds {seeds_text(seeds[part][differ])} are"
                " others"
            )  # fmt: skip


def _check_units(run: Run, prepared: PreparedImport) -> None:
    """Require the samples of all missing seeds in the work units that will be written."""
    status = run.status
    old = run.seeds[: len(status)]  # another process may add seeds in between
    known = set(old.tolist())
    new = [seed for seed in prepared.samples.seeds if seed not in known]
    seeds = np.concatenate([old, np.asarray(new, dtype=np.int64)])
    missing = np.concatenate([status != WRITTEN, np.ones(len(new), dtype=np.bool_)])
    mine = np.isin(seeds, prepared.samples.seeds)
    units = np.arange(len(seeds)) // run.unit_length
    needed = missing & np.isin(units, units[missing & mine])
    require_same_seeds(seeds[needed].tolist(), prepared.samples.seeds, prepared.samples.what)
