"""Lazy, labelled samples of many runs, joined on the seeds that all of them have."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore.errors import MissingDataError, SpecError
from reprostore.store.checked import CheckedArray
from reprostore.store.run import Run

Names = tuple[Sequence[str] | None, Sequence[str] | None, Sequence[str] | None]
READ = 16 * 2**20
"""Bytes of one dask chunk; each costs a task, and one shard index read."""

# dask's functions carry no types
_stack: Any = da.stack
_from_array: Any = da.from_array

Grid = dict[tuple[str, str, str], Run]


def run_dataset(run: Run) -> xr.Dataset:
    """Return the written samples of one run, lazily.

    Returns
    -------
    xarray.Dataset
        `sample` (seed, step, …) in the stored dtype, images in [-1, 1]; `denoised` where it was
        recorded; coordinates seed, step, sigma, alpha and timestep.
    """
    slots, seeds = run.written()
    table, spec = run.step_table(), run.spec
    dims = ("seed", "step", *spec.sample_dims)
    names = ["sample", "denoised"] if spec.sampler_spec.denoised else ["sample"]
    return xr.Dataset(
        {name: (dims, _take_slots(_lazy(run, name), slots)) for name in names},
        coords={
            "seed": seeds,
            "step": np.asarray(spec.steps, dtype=np.int32),
            "sigma": ("step", table.sigma),
            "alpha": ("step", table.alpha),
            "timestep": ("step", table.timestep),
        },
    )


def combined_samples(runs: Sequence[Run], names: Names, *, final: bool) -> xr.Dataset:
    """Return the samples of runs over (model, sampler, condition, seed, step), lazily.

    Parameters
    ----------
    runs : sequence of Run
        The chosen runs.
    names : tuple
        The models, samplers and conditions that were asked for; None stands for all.
    final : bool
        Only the last state, without the dimension step.

    Raises
    ------
    MissingDataError
        A combination or a common seed is missing.
    SpecError
        Steps, shapes or dtypes differ.
    """
    grid = _grid(runs, names)
    if not final:
        _require_equal(grid, "steps", "Use final_samples, or choose one sampler.")
    return _combine(grid, final=final)


def _grid(chosen: Sequence[Run], names: Names) -> Grid:
    runs = {_key(run): run for run in chosen}
    if not runs:
        raise MissingDataError(
            f"The store has no runs with the names {names}.",
            "Samples are read of runs that were generated or imported.",
            "See `repro status` for the runs of the store, or generate the runs first.",
        )
    axes = [
        list(given) if given is not None else sorted({key[axis] for key in runs})
        for axis, given in enumerate(names)
    ]
    grid = {}
    for key in itertools.product(*axes):
        if key not in runs:
            raise MissingDataError(
                f"The store has no run {'/'.join(key)}.",
                "Every combination of the chosen models, samplers and conditions is needed, since "
                "missing runs are never filled.",
                "Choose models, samplers and conditions that were run together, or generate it.",
            )
        grid[key] = runs[key]
    _require_equal(grid, "sample_dims", "Choose models whose samples have one layout.")
    _require_equal(grid, "sample_shape", "Choose models whose samples have one shape.")
    _require_equal(grid, "stored_dtype", "Choose runs of one dtype, and cast them yourself.")
    return grid


def _key(run: Run) -> tuple[str, str, str]:
    model, sampler, condition = run.path.split("/")
    return model, sampler, condition


def _require_equal(grid: Grid, field: str, action: str) -> None:
    values = {run.path: getattr(run.spec, field) for run in grid.values()}
    (first, value), *others = values.items()
    for path, other in others:
        if other != value:
            raise SpecError(
                f"The runs {first} and {path} differ in {field}: {value} and {other}.",
                f"Runs that are combined have equal {field}.",
                action,
            )


def _combine(grid: Grid, *, final: bool) -> xr.Dataset:
    axes = [list(dict.fromkeys(key[axis] for key in grid)) for axis in range(3)]
    seeds, slots = common_seeds(list(grid.values()))
    slots_of = dict(zip(grid, slots, strict=True))
    spec = next(iter(grid.values())).spec
    names = ["sample"]
    if not final and all(run.spec.sampler_spec.denoised for run in grid.values()):
        names.append("denoised")

    def part(key: tuple[str, str, str], name: str) -> Any:  # noqa: ANN401  # a dask array
        lazy = _lazy(grid[key], name)
        return _take_slots(lazy[:, -1] if final else lazy, slots_of[key])

    def nested(name: str) -> Any:  # noqa: ANN401  # a dask array
        return _stack(
            [
                _stack(
                    [_stack([part((m, s, c), name) for c in axes[2]]) for s in axes[1]],
                )
                for m in axes[0]
            ]
        )

    step_dims = () if final else ("step",)
    dims = ("model", "sampler", "condition", "seed", *step_dims, *spec.sample_dims)
    coords: dict[str, Any] = {
        "model": axes[0],
        "sampler": axes[1],
        "condition": axes[2],
        "seed": seeds,
    }
    if not final:
        coords["step"] = np.asarray(spec.steps, dtype=np.int32)
        tables = {key: run.step_table() for key, run in grid.items()}
        for name in ("sigma", "alpha", "timestep"):
            values = np.asarray(
                [[[getattr(tables[m, s, c], name) for c in axes[2]] for s in axes[1]]
                 for m in axes[0]]
            )  # fmt: skip
            coords[name] = (("model", "sampler", "condition", "step"), values)
    return xr.Dataset({name: (dims, nested(name)) for name in names}, coords=coords)


def common_seeds(runs: Sequence[Run]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the seeds that all runs have written, and their slots in each run.

    Returns
    -------
    seeds : ndarray
        Sorted, (seed,) int64.
    slots : list of ndarray
        For each run, the slot of every one of these seeds.

    Raises
    ------
    MissingDataError
        The runs have no seed in common.
    """
    written = [run.written() for run in runs]
    seeds = written[0][1]
    for _, others in written[1:]:
        seeds = np.intersect1d(seeds, others)
    seeds = np.sort(seeds)
    if len(seeds) == 0:
        raise MissingDataError(
            f"The runs {', '.join(run.path for run in runs)} have no written seed in common.",
            "Samples are compared at equal seeds.",
            "Generate the same seeds for all of them.",
        )
    slots = []
    for own_slots, own_seeds in written:
        order = np.argsort(own_seeds)
        slots.append(own_slots[order][np.searchsorted(own_seeds[order], seeds)])
    return seeds, slots


def _lazy(run: Run, name: str) -> Any:  # noqa: ANN401  # a dask array
    checked = CheckedArray(run, name)
    return _from_array(
        checked,
        chunks=(_seeds_per_read(run, name, checked), *checked.chunks[1:]),
        name=f"{name}-{run.spec.fingerprint}-{checked.shape[0]}-{run.store_path}-{run.path}",
        meta=np.empty((0,) * checked.ndim, dtype=checked.dtype),
    )


def _seeds_per_read(run: Run, name: str, checked: CheckedArray) -> int:
    """Return the seeds of a dask chunk: whole chunks of one shard, at most 16 MiB, or one."""
    shards = run.array(name).shards
    assert shards is not None  # every sample array of the store is sharded
    chunk = checked.chunks[0]
    chunk_bytes = math.prod(checked.chunks) * checked.dtype.itemsize
    in_shard = shards[0] // chunk
    most = min(in_shard, READ // chunk_bytes)
    fitting = [n for n in range(1, most + 1) if in_shard % n == 0]
    return chunk * max(fitting, default=1)


def _take_slots(lazy: Any, slots: NDArray[np.int64]) -> Any:  # noqa: ANN401  # dask arrays
    if len(slots) and (np.diff(slots) == 1).all():
        return lazy[int(slots[0]) : int(slots[-1]) + 1]
    return da.take(lazy, slots, axis=0)
