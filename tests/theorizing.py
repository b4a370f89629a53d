"""Runs whose estimates x̂_0 lie at chosen distances from each other."""

import hashlib

import numpy as np

from reprostore.specs import ModelSpec, Subset
from reprostore.store import StepTable
from reprostore.testing.store import run_spec, write_units

SHAPE = (1, 6, 6)
SIGMA = (80.0, 10.0, 2.0, 0.5, 0.0)


def grey(levels, seed=0, shape=SHAPE):
    """Return a random picture in [-1, 1] plus so many grey levels everywhere, float32."""
    base = np.random.default_rng(seed).uniform(-0.3, 0.3, shape)
    return (base + np.asarray(levels) / 127.5).astype(np.float32)


def checkered(levels, seed=0, shape=SHAPE):
    """Return the same picture, half of its pixels brighter and half darker by so many levels.

    The root mean square distance from `grey(0, seed)` is `levels`, and so is the mean
    absolute one; the mean of the picture stays.
    """
    sign = np.where(np.indices(shape).sum(axis=0) % 2, 1, -1)
    return (grey(0, seed, shape) + sign * np.asarray(levels) / 127.5).astype(np.float32)


def add_path(store, model, denoised, *, source=None, sampler="s", sigma=SIGMA, index="0-9",
             last=None, probe=None, batch_size=2, record_denoised=True, sampler_spec=None,
             scheduler=None, spec=None, **known):  # fmt: skip
    """Add a run of the last steps of four with chosen x̂_0, (row, *shape) by seed.

    The last x̂_0 is the sample, too.

    Parameters
    ----------
    source : str, optional
        "oracle" or "gaussian"; a checkpoint when left out.
    last : dict, optional
        The final sample by seed, when it is not the last x̂_0.
    sampler_spec, spec : dict, optional
        Fields of the SamplerSpec and of the RunSpec to replace.
    """
    rows = len(sigma)
    shape = next(iter(denoised.values())).shape[1:]
    kind = "image" if len(shape) == 3 else "trajectory"
    made = run_spec(model, sampler, kind=kind, sample_shape=shape, steps=tuple(range(5 - rows, 5)),
                    batch_size=batch_size, denoised=record_denoised,
                    weights=hashlib.sha256(model.encode()).hexdigest())  # fmt: skip
    known = {"trained_on": Subset(dataset="items", index=index)} | known
    made = made.model_copy(
        update={
            "model_spec": ModelSpec(source=source or f"checkpoints/{model}", **known),
            "sampler_spec": made.sampler_spec.model_copy(update=sampler_spec or {}),
            "scheduler": scheduler or {},
            **(spec or {}),
        }
    )
    timestep = np.append(np.arange(rows - 1, 0, -1.0), np.nan)
    table = StepTable(sigma=np.asarray(sigma), alpha=np.ones(rows), timestep=timestep)
    run = store.add_run(made, table, list(denoised))
    number = store.start_session({"batch_size": batch_size, "device": "cpu"})

    def states(spec, seed, row):
        estimate = denoised[seed][row]
        end = estimate if last is None else last[seed]
        noisy = np.full(shape, 7 + row, np.float32)
        return (end if row == rows - 1 else noisy), (estimate if record_denoised else None)

    write_units(run, number, states=states)
    if probe is not None:
        array = run.array("noise_probe")
        array[...] = probe(array[...])
    return run
