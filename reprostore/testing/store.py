"""Small runs with known values, and writing them, for tests of what is built on a store."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reprostore.noise_probes import seed_probes
from reprostore.specs import ModelSpec, RunSpec, SamplerSpec, StoredDtype
from reprostore.store import Run, StepTable, Unit
from reprostore.store.units import UnitWriter

States = Callable[[RunSpec, int, int], tuple[NDArray[Any], NDArray[Any] | None]]
"""Gives sample and denoised, (*sample_shape) in the stored dtype, from spec, seed and row."""

_DIMS: dict[str, tuple[str, ...]] = {
    "image": ("channel", "y", "x"),
    "trajectory": ("time", "coord"),
    "sequence": ("position",),
}


def run_spec(
    model: str = "model",
    sampler: str = "sampler",
    *,
    kind: Literal["image", "trajectory", "sequence"] = "image",
    sample_shape: tuple[int, ...] = (1, 2, 2),
    steps: Sequence[int] = (0, 1, 2),
    batch_size: int = 2,
    dtype: StoredDtype = "float32",
    denoised: bool = False,
    weights: str = "0" * 64,
) -> RunSpec:
    """Return the spec of a small run.

    Parameters
    ----------
    model, sampler : str
        Names in the store.
    kind : str
        "image", "trajectory" or "sequence"; it gives the names of the sample's dimensions.
    sample_shape : tuple of int
        As many lengths as the kind has dimensions: 3, 2 or 1.
    steps : sequence of int
        The recorded steps; the last one is the number of solver steps.
    batch_size : int
        Samples per forward pass.
    dtype : str
        Stored dtype.
    denoised : bool
        Whether `denoised` is recorded too.
    weights : str
        sha256 of the model's only file: another one is another identity.
    """
    return RunSpec(
        model=model,
        sampler=sampler,
        kind=kind,
        sample_dims=_DIMS[kind],
        sample_shape=sample_shape,
        model_spec=ModelSpec(source=f"checkpoints/{model}"),
        sampler_spec=SamplerSpec(
            scheduler="DDIMScheduler",
            steps=steps[-1],
            record="final" if len(steps) == 1 else tuple(steps),
            denoised=denoised,
            dtype=dtype,
        ),
        weights={"weights.safetensors": weights},
        scheduler={"num_train_timesteps": 1000},
        noise_scale=1.0,
        stored_dtype=dtype,
        steps=tuple(steps),
        batch_size=batch_size,
    )


def step_table(spec: RunSpec) -> StepTable:
    """Return noise levels that fall to zero: sigma from 10 to 0, alpha 1, timesteps to NaN."""
    count = len(spec.steps)
    timestep = np.arange(count, 0, -1, dtype=np.float64)
    timestep[-1] = np.nan
    sigma = np.linspace(10, 0, count) if count > 1 else np.zeros(1)
    return StepTable(sigma=sigma, alpha=np.ones(count), timestep=timestep)


def fake_states(spec: RunSpec, seed: int, row: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return states that look like noise and depend on seed and row alone.

    Returns
    -------
    sample, denoised : ndarray
        (*sample_shape) in the stored dtype: uniform in [-1, 1], or all values of uint8.
        `denoised` is None where it is not recorded.
    """
    rng = np.random.default_rng([seed, row])
    dtype = np.dtype(spec.stored_dtype)
    if dtype.kind == "u":
        return rng.integers(0, 256, spec.sample_shape, dtype=np.uint8), None
    sample, denoised = rng.uniform(-1, 1, (2, *spec.sample_shape)).astype(dtype)
    return sample, denoised if spec.sampler_spec.denoised else None


def write_units(
    run: Run, session: int, units: Iterable[Unit] | None = None, states: States = fake_states
) -> None:
    """Write a run's units as a generating process would: batch by batch, step by step.

    Parameters
    ----------
    run : Run
        Open for writing.
    session : int
        Number of the session that writes, from `SampleStore.start_session`.
    units : iterable of Unit, optional
        Which units and in which order; all missing ones when left out.
    states : callable
        Gives the values of a state from the run's spec, the seed and the row.
    """
    spec = run.spec
    for unit in run.missing_units() if units is None else units:
        writer = UnitWriter(run, unit, session)
        for slots in writer.batches(spec.batch_size):
            seeds = [int(seed) for seed in writer.seeds[slots.start - unit.start :][: len(slots)]]
            writer.put_noise(slots, seed_probes(seeds, spec.sample_shape))
            for row in range(len(spec.steps)):
                pairs = [states(spec, seed, row) for seed in seeds]
                denoised = [pair[1] for pair in pairs if pair[1] is not None]
                writer.put(
                    slots,
                    row,
                    np.stack([pair[0] for pair in pairs]),
                    np.stack(denoised) if denoised else None,
                )
        writer.finish()
