"""What another process does between the comparison of stores and the writing of a unit is kept."""

import numpy as np
import pytest
from merging import add_dataset, by_seed, laboratory, run_of, small_units, withhold
from stores import add

from reprostore.errors import IdentityError
from reprostore.ingest import StoredDataset
from reprostore.sharing import merge
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging import copy as merge_copy
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.testing.store import write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def once_before(monkeypatch, module, name, act, when=lambda *_: True):
    """Let something happen just before the first call of a function for which `when` holds."""
    real, done = getattr(module, name), []

    def function(*arguments, **named):
        if not done and when(*arguments):
            done.append(True)
            act()
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, function)
    return done


def labs(tmp_path, spec, **seeds):
    return [laboratory(tmp_path / f"{name}.zarr", [(spec, own)]) for name, own in seeds.items()]


def whole(store, spec):
    """Return all seeds of a run, having read all of its states."""
    run = open_store(store.path).run(spec.path)
    for name in ("sample", "denoised"):
        assert CheckedArray(run, name)[:, :].shape[0] == len(run.seeds)
    return by_seed(store.path, spec.path)


def test_seeds_that_another_merge_added_to_a_unit_stay(tmp_path, monkeypatch):
    spec = run_of()
    a, b, c = labs(tmp_path, spec, a=[0], b=[1], c=[2])
    expected = {}
    for store in (a, b, c):
        expected |= by_seed(store.path, spec.path)
    done = once_before(
        monkeypatch, merge_copy, "locked", lambda: merge_stores(a.path, [c.path]),
        lambda _, place: place.endswith("unit-0"),
    )  # fmt: skip
    merge_stores(a.path, [b.path])
    assert done
    assert whole(a, spec) == expected


def test_seeds_that_a_merge_added_to_a_unit_stay_when_a_generating_process_comes_to_it(tmp_path):
    spec = run_of()
    a, c = labs(tmp_path, spec, a=[0], c=[2])
    theirs = by_seed(c.path, spec.path)
    run = add(a, spec, [0, 1])
    units = run.missing_units()
    merge_stores(a.path, [c.path])
    write_units(run, a.start_session({}), units)
    found = whole(a, spec)
    assert sorted(found) == [0, 1, 2]
    assert found[2] == theirs[2]


def test_a_run_that_got_its_samples_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    spec = run_of()
    a, b, c = labs(tmp_path, spec, a=[0, 1], b=[0, 1, 2], c=[0, 1, 3])
    withhold(a.path, spec.path)
    done = once_before(
        monkeypatch, merge_copy, "_rebuild", lambda: merge_stores(a.path, [c.path])
    )  # fmt: skip
    with pytest.raises(IdentityError, match="changed by another process"):
        merge_stores(a.path, [b.path])
    assert done
    assert sorted(whole(a, spec)) == [0, 1, 3]
    merge_stores(a.path, [b.path])
    assert sorted(whole(a, spec)) == [0, 1, 2, 3]


def test_a_dataset_that_was_written_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    a, b = create_store(tmp_path / "a.zarr"), create_store(tmp_path / "b.zarr")
    add_dataset(b, "digits", seed=1)
    once_before(monkeypatch, merge, "copy_dataset", lambda: add_dataset(a, "digits", seed=2))
    with pytest.raises(IdentityError, match="Another dataset 'digits' was written"):
        merge_stores(a.path, [b.path])
    rng = np.random.default_rng(2)
    items = rng.integers(0, 256, (20, 2, 2, 1), dtype=np.uint8).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(StoredDataset(a, "digits").read(slice(None)), items)
