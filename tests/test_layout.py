"""Units, shards and chunks against an independent restatement of the rules, and the disk."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprostore.layout import RunLayout, nearest_divisor, unit_length
from reprostore.store import create_store
from reprostore.store.units import UnitWriter
from reprostore.testing.store import run_spec, step_table, write_units

MIB = 1024 * 1024


def restated_unit(batch, steps, size):
    """Grow the unit batch by batch, as long as it stays below 64 MiB and before 512 seeds."""
    unit = batch
    while unit < 512 and (unit + batch) * steps * size <= 64 * MIB:
        unit += batch
    return unit


def restated_shard(batch, steps, size):
    """Take the first that fits into 256 MiB: the unit, rows of a batch, rows of part of it."""
    unit = restated_unit(batch, steps, size)
    candidates = [(unit, steps)]
    candidates += [(batch, rows) for rows in range(steps, 0, -1)]
    candidates += [(part, 1) for part in range(batch, 0, -1) if batch % part == 0]
    for seeds, rows in candidates:
        if seeds * rows * size <= 256 * MIB:
            return seeds, rows
    return 1, 1  # a single state is larger: it is a shard of its own


def restated_chunk(seeds, size):
    divisors = [n for n in range(1, seeds + 1) if seeds % n == 0]
    gaps = {n: abs(n * size - MIB) for n in divisors}
    return min(n for n in divisors if gaps[n] == min(gaps.values()))


@given(
    batch=st.integers(1, 600),
    steps=st.integers(1, 1001),
    side=st.sampled_from([1, 2, 8, 28, 32, 64, 100, 256, 512, 1024, 2048]),
    channels=st.sampled_from([1, 3, 4]),
    dtype=st.sampled_from(["float32", "float16", "uint8"]),
)
def test_layout_follows_the_rules(batch, steps, side, channels, dtype):
    size = channels * side * side * np.dtype(dtype).itemsize
    layout = RunLayout(batch, steps, (channels, side, side), dtype)
    assert layout.unit == restated_unit(batch, steps, size)
    assert layout.shard == restated_shard(batch, steps, size)
    assert layout.chunk == restated_chunk(layout.shard[0], size)


@given(batch=st.integers(1, 300), steps=st.integers(1, 200), size=st.integers(1, 64 * MIB))
def test_units_are_whole_batches_and_whole_shards(batch, steps, size):
    layout = RunLayout(batch, steps, (size,), "uint8")
    assert unit_length(batch, steps, size) % batch == 0
    assert layout.unit % layout.shard[0] == 0
    assert layout.shard[0] % layout.chunk == 0


@pytest.mark.parametrize(
    ("batch", "steps", "shape", "unit", "shard", "chunk"),
    [
        # 12 KiB a sample; 512 of them are 6 MiB; 1 MiB are 85.3 samples, between 64 and 128
        (64, 1, (3, 32, 32), 512, (512, 1), 64),
        # ⌈512/100⌉ = 6 batches; of the divisors of 600, 75 and 100 are nearest to 85.3: 75
        (100, 1, (3, 32, 32), 600, (600, 1), 75),
        # 51 rows of 64 samples are 38.25 MiB, and two batches would be more than 64 MiB
        (64, 51, (3, 32, 32), 64, (64, 51), 64),
        # 3 MiB a state: 8 × 51 are 1,224 MiB; 256 MiB hold 10 rows of 24 MiB
        (8, 51, (3, 512, 512), 8, (8, 10), 1),
        (1, 51, (3, 512, 512), 1, (1, 51), 1),
        # 12 MiB a state: 2 rows of 96 MiB, 5 rows of 48, 21 rows of 12
        (8, 51, (3, 1024, 1024), 8, (8, 2), 1),
        (4, 51, (3, 1024, 1024), 4, (4, 5), 1),
        (1, 51, (3, 1024, 1024), 1, (1, 21), 1),
        # a row of 32 such states is 384 MiB; of its divisors 16 fit (192 MiB)
        (32, 51, (3, 1024, 1024), 32, (16, 1), 1),
    ],
)
def test_layout_by_hand(batch, steps, shape, unit, shard, chunk):
    layout = RunLayout(batch, steps, shape, "float32", denoised=True)
    assert (layout.unit, layout.shard, layout.chunk) == (unit, shard, chunk)
    assert layout.denoised_shard == (shard[0], (shard[1] + 1) // 2)


def test_nearest_divisor_takes_the_smaller_of_two():
    assert nearest_divisor(12, 5) == 4
    assert nearest_divisor(12, 5.1) == 6
    assert nearest_divisor(7, 3.9) == 1
    assert nearest_divisor(7, 4.1) == 7


def files_below(folder):
    return [os.path.join(a, name) for a, _, names in os.walk(folder) for name in names]  # noqa: PTH118


@pytest.mark.parametrize("batch", [64, 128, 256])
def test_ten_thousand_final_samples_are_at_most_150_files(batch):
    layout = RunLayout(batch, 1, (3, 32, 32), "float32")
    # ⌈10,000/512⌉ = 20 files of sample and of each of 4 arrays by unit, 5 whole arrays of one
    # file each, and zarr.json of 10 arrays and the group
    assert layout.files(10_000) == 20 * 5 + 5 + 11
    assert layout.files(10_000) <= 150
    assert layout.nbytes(10_000) == 10_000 * 3 * 32 * 32 * 4


def test_ten_thousand_final_samples_on_disk(tmp_path):
    spec = run_spec(sample_shape=(3, 32, 32), steps=(50,), batch_size=128)
    store = create_store(tmp_path / "a.zarr")
    run = store.add_run(spec, step_table(spec), range(10_000))
    layout = RunLayout.of(spec)
    batch = np.zeros((128, 3, 32, 32), np.float32)
    for unit in run.missing_units():
        writer = UnitWriter(run, unit, 1)
        for slots in writer.batches(128):
            writer.put_noise(slots, np.zeros((len(slots), 8), np.float32))
            batch[:, 0, 0, 0] = np.arange(slots.start, slots.start + 128)
            writer.put(slots, 0, batch[: len(slots)])
        writer.finish()
    folder = store.path / run.group
    assert len(files_below(folder)) == layout.files(10_000) <= 150
    assert run.array("sample").nbytes == layout.nbytes(10_000)
    last = store.final_samples()["sample"][0, 0, 0, :, 0, 0, 0].values
    np.testing.assert_array_equal(last, np.arange(10_000, dtype=np.float32))


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        ({"steps": (0, 1, 2), "denoised": True}, 5),
        ({"steps": tuple(range(9)), "denoised": True, "batch_size": 700}, 1500),
        ({"steps": (3,), "dtype": "uint8"}, 513),
        ({"kind": "trajectory", "sample_shape": (4, 2), "dtype": "float16"}, 1025),
    ],
)
def test_counted_files_are_those_on_disk(tmp_path, options, seeds):
    spec = run_spec(**options)
    store = create_store(tmp_path / "a.zarr")
    run = store.add_run(spec, step_table(spec), range(seeds))
    write_units(run, 1)
    layout = RunLayout.of(spec)
    assert len(files_below(store.path / run.group)) == layout.files(seeds)
    assert len(run.units()) == layout.units(seeds)
    arrays = ["sample", "denoised"] if spec.sampler_spec.denoised else ["sample"]
    assert sum(run.array(name).nbytes for name in arrays) == layout.nbytes(seeds)


def test_counted_files_where_steps_are_cut_into_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("reprostore.layout.UNIT_SEEDS", 8)
    monkeypatch.setattr("reprostore.layout.SHARD_BYTES", 4 * 3 * 16)
    spec = run_spec(steps=range(8), batch_size=4, denoised=True)  # 16 bytes a state
    layout = RunLayout.of(spec)
    assert (layout.unit, layout.shard, layout.denoised_shard) == (8, (4, 3), (4, 2))
    store = create_store(tmp_path / "a.zarr")
    run = store.add_run(spec, step_table(spec), range(13))
    write_units(run, 1)
    assert len(files_below(store.path / run.group / "sample" / "c")) == 4 * 3
    assert len(files_below(store.path / run.group / "denoised" / "c")) == 4 * 4
    assert len(files_below(store.path / run.group)) == layout.files(13)
