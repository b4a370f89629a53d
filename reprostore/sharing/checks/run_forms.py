"""What a RunSpec implies of the arrays of its run."""

from typing import Any

from reprostore.layout import PROBE_LENGTH, SEED_CHUNK, RunLayout
from reprostore.sharing.checks.findings import Damage
from reprostore.sharing.checks.forms import CHUNK_LIMIT, ArrayForm
from reprostore.specs import RunSpec

STEP_ARRAYS = ("step", "sigma", "alpha", "timestep")
UNIT_ARRAYS = ("digest", "session", "noise_probe")
"""Arrays that every written slot has a value in, with a chunk for each unit."""

BATCH_LIMIT = 2**20
"""No batch is larger; the divisors of a batch size are listed."""


def state_arrays(spec: RunSpec) -> tuple[str, ...]:
    """Return the names of the arrays of a run's states."""
    return ("sample", "denoised") if spec.sampler_spec.denoised else ("sample",)


def run_forms(spec: RunSpec, length: int, *, withheld: bool) -> dict[str, ArrayForm]:
    """Return the forms of all arrays of a run, as docs/format.md says them.

    Parameters
    ----------
    spec : RunSpec
        What the run is.
    length : int
        Number of slots.
    withheld : bool
        Whether samples are not in the store.

    Raises
    ------
    Damage
        Its numbers are larger than those of any run.
    """
    if spec.batch_size > BATCH_LIMIT:
        raise Damage(f"names a batch size of {spec.batch_size}")
    layout, steps = RunLayout.of(spec), len(spec.steps)
    if layout.sample_bytes > CHUNK_LIMIT:
        raise Damage(f"names samples of {layout.sample_bytes} bytes")
    unit = layout.unit
    forms = {
        "digest": _plain((length,), ("seed",), "uint64", (unit,), 0),
        "session": _plain((length,), ("seed",), "uint64", (unit,), 0),
        "status": _plain((length,), ("seed",), "uint8", (unit,), 0),
        "noise_probe": _plain(
            (length, PROBE_LENGTH), ("seed", "probe"), "float32", (unit, PROBE_LENGTH), "NaN"
        ),
        "seed": _plain((length,), ("seed",), "int64", (SEED_CHUNK,), -1),
        "step": _plain((steps,), ("step",), "int32", (steps,), 0),
    }
    for name in ("sigma", "alpha", "timestep"):
        forms[name] = _plain((steps,), ("step",), "float64", (steps,), "NaN")
    shards = {"sample": layout.shard, "denoised": layout.denoised_shard}
    for name in () if withheld else state_arrays(spec):
        forms[name] = ArrayForm(
            shape=(length, steps, *spec.sample_shape),
            dims=("seed", "step", *spec.sample_dims),
            dtype=spec.stored_dtype,
            shard=(*shards[name], *spec.sample_shape),
            chunk=(layout.chunk, 1, *spec.sample_shape),
            fill="NaN" if spec.stored_dtype.startswith("float") else 0,
            sharded=True,
        )
    return forms


def _plain(
    shape: tuple[int, ...],
    dims: tuple[str, ...],
    dtype: str,
    chunk: tuple[int, ...],
    fill: float | str,
) -> ArrayForm:
    return ArrayForm(shape, dims, dtype, chunk, chunk, fill, sharded=False)


def as_metadata(form: ArrayForm) -> bytes:
    """Return the zarr.json of an array of this form, as the store itself writes it."""
    from zarr.storage import MemoryStore

    from reprostore.store.arrays import create_array

    kept: dict[str, Any] = {}
    create_array(
        MemoryStore(kept),
        "array",
        shape=form.shape,
        dims=form.dims,
        dtype=form.dtype,
        chunks=form.chunk,
        shards=form.shard if form.sharded else None,
        fill=None if isinstance(form.fill, str) else form.fill,
    )
    return bytes(kept["array/zarr.json"].to_bytes())
