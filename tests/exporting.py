"""A small store with known samples, and its export."""

from stores import add

from reprostore.sharing.export import ExportRequest, export_samples
from reprostore.store import create_store
from reprostore.testing.store import fake_states, run_spec, write_units

SEEDS = [1500, 3, 0, 7, 999, 1000]
"""In the order in which they are in the store; files are in increasing order."""

RUN = "model/sampler/none"
ORDERED = [0, 3, 7, 999, 1000, 1500]


def filled(path, seeds=SEEDS, states=fake_states, **values):
    store = create_store(path / "s.zarr", title="Two", license="CC0-1.0", creators=["A", "B"])
    spec = run_spec(**{"sample_shape": (3, 4, 5), **values})
    write_units(add(store, spec, seeds), store.start_session({}), states=states)
    return store


def expected(seed, row=2, shape=(3, 4, 5), **values):
    return fake_states(run_spec(sample_shape=shape, **values), seed, row)[0]


def export(store, folder, form, runs=(RUN,), **values):
    return export_samples(store, ExportRequest(folder, form, runs, **values))
