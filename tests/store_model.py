"""A plain NumPy model of runs, and comparisons of a store with it."""

import hashlib
import warnings

import numpy as np
import xarray as xr

from reprostore import layout
from reprostore.noise_probes import seed_probes
from reprostore.store.checked import CheckedArray
from reprostore.store.locks import lock_folder
from reprostore.store.run import WRITTEN
from reprostore.testing.store import fake_states, run_spec

# With these limits the four runs have units of four seeds, and one shard per unit (wide),
# shards of all steps of a batch (path), shards of one step of half a batch (deep).
LIMITS = {"UNIT_SEEDS": 4, "SHARD_BYTES": 200}
SPECS = [
    run_spec("wide", sample_shape=(1, 2, 2), steps=(0, 1, 2), batch_size=2, denoised=True),
    run_spec(
        "path",
        kind="trajectory",
        sample_shape=(3, 2),
        steps=(0, 2, 3, 7, 9),
        batch_size=2,
        dtype="float16",
    ),
    run_spec("deep", sample_shape=(1, 4, 4), steps=(1, 5), batch_size=4, denoised=True),
    run_spec("seen", sample_shape=(3, 2, 2), steps=(50,), batch_size=3, dtype="uint8"),
]
EXPECTED_SHARDS = {"wide": (4, 3), "path": (2, 5), "deep": (2, 1), "seen": (6, 1)}


def states_of(spec, seed):
    """Return sample and denoised of one seed, stacked over steps; denoised may be None."""
    rows = [fake_states(spec, seed, row) for row in range(len(spec.steps))]
    sample = np.stack([row[0] for row in rows])
    return sample, np.stack([row[1] for row in rows]) if rows[0][1] is not None else None


class RunModel:
    """What a run should hold: its seeds in order, and for each written one its states."""

    def __init__(self, spec, seeds):
        self.spec = spec
        self.seeds = list(seeds)
        self.samples = {}
        self.denoised = {}
        self.sessions = {}

    def write(self, seed, session):
        if seed not in self.samples:
            self.samples[seed], self.denoised[seed] = states_of(self.spec, seed)
            self.sessions[seed] = session

    def units(self):
        length = layout.RunLayout.of(self.spec).unit
        return [self.seeds[a : a + length] for a in range(0, len(self.seeds), length)]


def expected_digest(model, seed):
    """Return blake2b-64 over the steps: the sample's bytes, then those of its denoised state."""
    hasher = hashlib.blake2b(digest_size=8)
    for row in range(len(model.spec.steps)):
        hasher.update(model.samples[seed][row].tobytes())
        if model.denoised[seed] is not None:
            hasher.update(model.denoised[seed][row].tobytes())
    return int.from_bytes(hasher.digest(), "little")


def check_run(run, model):
    """Compare all that is stored of a run with the model, bit by bit."""
    written = np.array([seed in model.samples for seed in model.seeds])
    assert run.seeds.tolist() == model.seeds
    assert (run.status == WRITTEN).tolist() == written.tolist()
    held = [seed for seed in model.seeds if seed in model.samples]
    for name, states in [("sample", model.samples), ("denoised", model.denoised)]:
        if name == "denoised" and not model.spec.sampler_spec.denoised:
            continue
        array = CheckedArray(run, name)
        assert array.dtype == np.dtype(model.spec.stored_dtype)
        stored = array[:, :]
        if held:
            expected = np.stack([states[seed] for seed in held])
            np.testing.assert_array_equal(stored[written], expected, strict=True)
    digests = [expected_digest(model, seed) for seed in held]
    assert run.recorded("digest")[written].tolist() == digests
    sessions = [model.sessions[seed] for seed in held]
    assert run.recorded("session")[written].tolist() == sessions
    probes = seed_probes(held, model.spec.sample_shape)
    np.testing.assert_array_equal(run.recorded("noise_probe")[written], probes)


def open_tree(path):
    """Open the store as somebody without this package would; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_datatree(path, engine="zarr", chunks={}, consolidated=False) as tree:
            return {node.path.removeprefix("/runs/"): node.to_dataset() for node in tree.leaves}


def check_tree(path, models):
    tree = open_tree(path)
    for name, model in models.items():
        dataset = tree[name]
        shape = (len(model.seeds), len(model.spec.steps), *model.spec.sample_shape)
        assert dataset["sample"].shape == shape
        assert dataset["sample"].dims == ("seed", "step", *model.spec.sample_dims)
        assert dataset["sample"].dtype == np.dtype(model.spec.stored_dtype)
        assert dataset["seed"].values.tolist() == model.seeds
        assert dataset["step"].values.tolist() == list(model.spec.steps)


def leftovers(path):
    """Return temporary files in the store and unfinished groups beside it."""
    staged = [p for p in (lock_folder(path) / "staging").glob("*") if p.suffix != ".lock"]
    return [*path.rglob("*.partial"), *staged]
