"""Samples of runs, or vectors of them, as they are exported."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprostore.canonical import fingerprint
from reprostore.embed.runs import RunVectors
from reprostore.errors import MissingDataError
from reprostore.seeds import format_ranges, parse_ranges, seeds_text, shorten
from reprostore.sharing.exporting.sources import (
    READ_BYTES,
    Selection,
    exported_encoder,
    gathered,
    vector_span,
)
from reprostore.store import Run, SampleStore
from reprostore.store.checked import CheckedArray


def run_selection(
    store: SampleStore, run: Run, seeds: str | None, step: int | None, encoder: str | None
) -> Selection:
    """Select written samples of a run at one recorded step, or their vectors.

    Parameters
    ----------
    store, run
        The run, and the store that it is in.
    seeds : str, optional
        Ranges such as "0-999"; all that are written when left out.
    step : int, optional
        A recorded step; the last when left out.
    encoder : str, optional
        Select the vectors of this encoder.

    Raises
    ------
    MissingDataError
        A seed or step is not there, samples are withheld, or vectors were not made.
    SpecError
        The seeds do not follow the grammar.
    """
    slots, numbers = _chosen_seeds(run, seeds)
    row = _row(run, step)
    spec = run.spec
    about = {
        "run": run.path,
        "fingerprint": spec.fingerprint,
        "seeds": format_ranges(numbers.tolist()),
        "samples": fingerprint([numbers.tolist(), run.recorded("digest")[slots].tolist()]),
        "step": spec.steps[row],
        "spec": spec.model_dump(mode="json"),
    }
    if encoder is None:
        samples = CheckedArray(run, "sample")
        item_bytes = int(np.prod(spec.sample_shape)) * samples.dtype.itemsize
        span = samples.chunks[0] * max(1, READ_BYTES // (samples.chunks[0] * item_bytes))

        def read_samples(positions: NDArray[np.int64]) -> NDArray[Any]:
            return gathered(
                lambda part: samples[int(part[0]) : int(part[-1]) + 1, row][part - part[0]],
                slots[positions],
                span,
            )

        return Selection(
            kind="run",
            name=run.path,
            key="seeds",
            numbers=numbers,
            places=slots,
            path=run.path,
            shape=spec.sample_shape,
            dtype=samples.dtype,
            is_image=spec.kind == "image",
            read=read_samples,
            about=about,
        )
    handle = exported_encoder(store, encoder)
    vectors = RunVectors(store, handle, run)
    without = np.intersect1d(vectors.missing(row), slots)
    if len(without):
        raise MissingDataError(
            f"The store {store.path} has no vectors of the encoder {encoder!r} for the seeds "
            f"{seeds_text(run.seeds[without])} of the run {run.path} at step {spec.steps[row]}.",
            "Vectors are exported as they lie in the store.",
            f"Make them with `repro analyze … --encoder {encoder}`, or name other seeds.",
        )
    dimension = vectors.read(slots[:1], row).shape[1]

    def read_vectors(positions: NDArray[np.int64]) -> NDArray[Any]:
        return gathered(
            lambda part: vectors.read(part, row), slots[positions], vector_span(dimension)
        )

    return Selection(
        kind="run",
        name=run.path,
        key="seeds",
        numbers=numbers,
        places=slots,
        path=f"{run.path}.{encoder}",
        shape=(dimension,),
        dtype=np.dtype(np.float32),
        is_image=False,
        read=read_vectors,
        about=about | {"encoder": handle.identity},
    )


def _chosen_seeds(run: Run, text: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return slots and seeds in increasing order of the seeds."""
    slots, written = run.written()
    if text is not None:
        asked = np.asarray(parse_ranges(text), dtype=np.int64)
        absent = np.setdiff1d(asked, written)
        if len(absent):
            raise MissingDataError(
                f"The run {run.path} has no samples of the seeds {seeds_text(absent)}.",
                f"Written are {seeds_text(written) or 'none yet'}.",
                "Name seeds that are written, or generate these first.",
            )
        kept = np.isin(written, asked)
        slots, written = slots[kept], written[kept]
    if len(slots) == 0:
        raise MissingDataError(
            f"The run {run.path} has no written samples.",
            "What is exported was generated before.",
            "Run `repro generate` first, or name another run.",
        )
    order = np.argsort(written)
    return slots[order], written[order]


def _row(run: Run, step: int | None) -> int:
    steps = run.spec.steps
    if step is None:
        return len(steps) - 1
    if step not in steps:
        raise MissingDataError(
            f"The run {run.path} has no states of step {step}.",
            f"Recorded are the steps {shorten(format_ranges(list(steps)))}.",
            "Name one of these, or leave the step out for the samples themselves.",
        )
    return steps.index(step)


def matching_runs(store: SampleStore, models: Sequence[str], samplers: Sequence[str]) -> list[str]:
    """Return the paths of the runs of these models and samplers; of all where none are named.

    Raises
    ------
    MissingDataError
        A name has no run.
    """
    paths = store.run_paths()
    for what, names, position in (("model", models, 0), ("sampler", samplers, 1)):
        known = sorted({path.split("/")[position] for path in paths})
        for name in names:
            if name not in known:
                raise MissingDataError(
                    f"The {what} {name!r} has no run in the store {store.path}.",
                    f"There are runs of {', '.join(known) or 'nothing yet'}.",
                    "Choose among these.",
                )
    chosen = []
    for path in paths:
        model, sampler, _ = path.split("/")
        if (not models or model in models) and (not samplers or sampler in samplers):
            chosen.append(path)
    return chosen


def named_runs(store: SampleStore, patterns: Sequence[str]) -> list[str]:
    """Return the paths of the runs that are named; * in a name stands for any text.

    Raises
    ------
    MissingDataError
        A name has no run.
    """
    paths = store.run_paths()
    chosen: list[str] = []
    for pattern in patterns:
        matched = [path for path in paths if fnmatchcase(path, pattern)]
        if not matched:
            raise MissingDataError(
                f"The store {store.path} has no run {pattern}.",
                f"Its runs are {', '.join(paths) or 'none yet'}.",
                "Name some of these; * stands for any text.",
            )
        chosen += matched
    return list(dict.fromkeys(chosen))
