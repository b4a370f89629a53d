"""Verifying a store against reading the bytes of its files, and against decoding its samples."""

from time import process_time

import numpy as np
import pytest
from sides import compare

from reprostore import create_store, open_store
from reprostore.sharing.verify import verify_store
from reprostore.testing.store import run_spec, step_table, write_units

SHAPES = {"48 KiB states": ((3, 64, 64), 512, 11), "256 B states": ((1, 8, 8), 20_000, 51)}


@pytest.fixture(scope="module", params=SHAPES)
def store(request, tmp_path_factory):
    """Store 250 MiB of noise, which zstd cannot make small."""
    shape, seeds, steps = SHAPES[request.param]
    spec = run_spec(sample_shape=shape, steps=range(steps), batch_size=128)
    made = create_store(tmp_path_factory.mktemp("verify") / "samples.zarr")
    run = made.add_run(spec, step_table(spec), range(seeds))
    rng = np.random.default_rng(0)
    write_units(
        run,
        made.start_session({}),
        states=lambda *_: (rng.standard_normal(shape, dtype=np.float32), None),
    )
    return open_store(made.path)


def cpu_seconds(function):
    start = process_time()
    function()
    return process_time() - start


def test_verify_against_decoding(benchmark, store):
    """At least half the speed of reading all samples through zarr."""
    array = store.runs()[0].array("sample")

    def ours():
        assert not verify_store(store).findings

    def decode():
        for start in range(0, array.shape[0], array.shards[0]):
            array[start : start + array.shards[0]]

    compare(benchmark, ours, decode)
    nbytes = array.nbytes
    benchmark.extra_info["GB_per_s"] = nbytes / 1e9 / benchmark.extra_info["ours_s"]
    benchmark.extra_info["speed_of_decoding"] = 1 / benchmark.extra_info["ratio"]
    benchmark.extra_info["speed_by_cpu_time"] = cpu_seconds(decode) / cpu_seconds(ours)


def test_verify_against_reading_from_the_page_cache(benchmark, store):
    """Without a disk nothing that computes keeps up: the digests alone are 1 GB/s a core."""
    files = [file for file in store.path.rglob("*") if file.is_file()]

    def ours():
        assert not verify_store(store).findings

    def read():
        for file in files:
            file.read_bytes()

    compare(benchmark, ours, read)
    nbytes = sum(file.stat().st_size for file in files)
    benchmark.extra_info["GB_per_s"] = nbytes / 1e9 / benchmark.extra_info["ours_s"]
    benchmark.extra_info["speed_of_reading"] = 1 / benchmark.extra_info["ratio"]
