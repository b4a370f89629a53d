"""Features of other tools as vectors of runs whose samples are withheld."""

import hashlib

import numpy as np
import pytest
from importing import images, request, write_folder

from reprostore.embed import embed_run, stored_encoder
from reprostore.embed.handle import EncoderHandle
from reprostore.errors import DatasetError, IdentityError, MissingDataError, SpecError
from reprostore.importing import import_samples
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store
from reprostore.testing.faults import killed_after

SHAPE = (3, 6, 6)


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def features(count, dimension=5, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def ask(path, model="m", **fields):
    return request(path, model, **{"encoder": "sscd", "sample_shape": SHAPE, **fields})


def read(store, model="m", name="sscd"):
    run = store.run(f"{model}/imported/none")
    slots, seeds = run.written()
    vectors = embed_run(store, stored_encoder(store, name), run).read(slots)
    return dict(zip(seeds.tolist(), vectors, strict=True))


def assert_vectors(store, expected, **where):
    found = read(store, **where)
    assert found.keys() == expected.keys()
    for seed, vector in expected.items():
        np.testing.assert_array_equal(found[seed], vector, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_vectors_belong_to_the_seeds_that_were_given(store, tmp_path, dtype):
    values = features(300).astype(dtype)
    np.savez(tmp_path / "f.npz", features=values)
    row = import_samples(store, ask(tmp_path / "f.npz", seeds="100-399", noise="edm-cpu"))
    assert (row["kind"], row["seeds"], row["written"]) == ("vectors", 300, 300)
    assert_vectors(store, dict(zip(range(100, 400), values.astype(np.float32), strict=True)))


def test_the_digest_of_a_withheld_sample_is_that_of_its_vector(store, tmp_path):
    values = features(3)
    np.save(tmp_path / "f.npy", values)
    import_samples(store, ask(tmp_path / "f.npy", seeds="0-2"))
    run = store.run("m/imported/none")
    assert run.withheld
    expected = [
        int.from_bytes(hashlib.blake2b(v.astype("<f4").tobytes(), digest_size=8).digest(), "little")
        for v in values
    ]
    assert run.recorded("digest").tolist() == expected
    assert run.spec.sample_shape == SHAPE


def test_images_of_the_run_are_not_there_and_its_vectors_stay(store, tmp_path):
    values = features(3)
    np.save(tmp_path / "f.npy", values)
    import_samples(store, ask(tmp_path / "f.npy", seeds="0-2"))
    run = store.run("m/imported/none")
    for name in ("sscd", "other"):  # an encoder of our own, also under the name of the vectors
        with pytest.raises(MissingDataError, match="samples of the run m/imported/none"):
            embed_run(store, EncoderHandle(name, EncoderSpec(kind="pixel")), run)
    assert_vectors(store, dict(enumerate(values)))


def test_vectors_of_different_origin_are_never_mixed(store, tmp_path):
    np.save(tmp_path / "f.npy", features(3))
    import_samples(store, ask(tmp_path / "f.npy", seeds="0-2", encoder_weights="0" * 64))
    assert stored_encoder(store, "sscd").identity == {
        "kind": "imported", "name": "sscd", "metric": "cosine", "weights": "0" * 64
    }  # fmt: skip
    for fields in ({}, {"encoder_weights": "1" * 64},
                   {"encoder_weights": "0" * 64, "metric": "squared_l2"}):  # fmt: skip
        with pytest.raises(IdentityError, match=r"has vectors of an encoder 'sscd' of which"):
            import_samples(store, ask(tmp_path / "f.npy", "n", seeds="0-2", **fields))
    import_samples(store, ask(tmp_path / "f.npy", "n", seeds="0-2", encoder_weights="0" * 64))
    assert store.run_paths() == ["m/imported/none", "n/imported/none"]


def test_vectors_are_not_mixed_with_those_of_an_encoder_of_ours(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(3))))
    import_samples(store, request(folder, "images"))
    run = store.run("images/imported/none")
    embed_run(store, EncoderHandle("sscd", EncoderSpec(kind="pixel")), run)
    np.save(tmp_path / "f.npy", features(3))
    with pytest.raises(IdentityError, match="nothing shows that these are"):
        import_samples(store, ask(tmp_path / "f.npy", seeds="0-2"))
    assert store.run_paths() == ["images/imported/none"]


def test_weights_of_an_encoder_may_be_a_file(store, tmp_path):
    (tmp_path / "sscd.pt").write_bytes(b"weights")
    np.save(tmp_path / "f.npy", features(3))
    fields = {"seeds": "0-2", "encoder_weights": str(tmp_path / "sscd.pt")}
    import_samples(store, ask(tmp_path / "f.npy", **fields))
    digest = hashlib.sha256(b"weights").hexdigest()
    assert stored_encoder(store, "sscd").identity["weights"] == digest


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (images(4), r"\(4, 3, 6, 6\) and type uint8"),
        (np.zeros(4, dtype=np.float32), r"shape \(4,\)"),
        (np.zeros((4, 1, 3), dtype=np.float32), r"squeezed to \(sample, embedding\)"),
        (np.zeros((4, 3), dtype=np.int64), "type int64"),
        (np.full((4, 3), 1e300), "Row 0 of .* contains NaN or infinite"),
        (np.where(np.arange(12).reshape(4, 3) == 7, np.nan, 1.0), "Row 2 of"),
    ],
)
def test_what_is_no_vector_is_refused(store, tmp_path, values, message):
    np.save(tmp_path / "f.npy", values)
    with pytest.raises(DatasetError, match=message):
        import_samples(store, ask(tmp_path / "f.npy", seeds="0-3"))
    assert store.run_paths() == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_shape": None}, "is not given"),
        ({"sample_shape": (3, 6)}, r"is \(3, 6\)"),
        ({"encoder": "pixel"}, "the encoder that every store can compute itself"),
        ({"encoder": "a/b"}, "'a/b' is no valid name of an encoder"),
        ({"encoder": None, "encoder_weights": "0" * 64}, "and no encoder"),
        ({"layout": "nchw"}, "The layout is given, and an encoder"),
        ({"value_range": (0, 1)}, "The value range is given, and an encoder"),
        ({"metric": "l1"}, "The metric is 'l1'. It is cosine or squared_l2"),
    ],
)
def test_options_of_vectors_are_checked(tmp_path, fields, message):
    with pytest.raises(SpecError, match=message):
        ask(tmp_path / "f.npy", seeds="0-3", **fields)


def test_vectors_and_images_do_not_share_a_run(store, tmp_path):
    folder = write_folder(tmp_path / "out", dict(enumerate(images(3))))
    np.save(tmp_path / "f.npy", features(3))
    (tmp_path / "net.bin").write_bytes(b"net")
    for fields in ({}, {"weights": tmp_path / "net.bin"}):
        name = f"m{len(fields)}"
        import_samples(store, request(folder, name, **fields))
        with pytest.raises(
            IdentityError, match="it holds samples, and these are vectors of samples"
        ):
            import_samples(store, ask(tmp_path / "f.npy", name, seeds="0-2", **fields))


def test_a_run_of_vectors_does_not_grow(store, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"net")
    values = features(700)
    np.save(tmp_path / "a.npy", values[:300])
    np.save(tmp_path / "b.npy", values)
    np.save(tmp_path / "c.npy", values[:300] + np.float32(1))
    fields = {"weights": tmp_path / "net.bin", "noise": "edm-cpu"}
    import_samples(store, ask(tmp_path / "a.npy", seeds="0-299", **fields))
    assert import_samples(store, ask(tmp_path / "a.npy", seeds="0-299", **fields))["written"] == 0
    with pytest.raises(IdentityError, match="a run of vectors does not grow"):
        import_samples(store, ask(tmp_path / "b.npy", seeds="0-699", **fields))
    with pytest.raises(IdentityError, match="the samples or the noise of the seeds 0-127 are"):
        import_samples(store, ask(tmp_path / "c.npy", seeds="0-299", **fields))
    assert_vectors(store, dict(enumerate(values[:300])))


def test_a_killed_import_of_vectors_is_finished_by_the_next(tmp_path):
    values = features(3)
    np.save(tmp_path / "f.npy", values)
    unfinished = 0
    for changes in [0, 60, *range(120, 400, 9)]:
        path = tmp_path / f"{changes}.zarr"
        store = create_store(path)
        with killed_after(path.parent, changes) as fault:
            import_samples(store, ask(tmp_path / "f.npy", seeds="0-2"))
        if not fault.killed:
            break
        again = open_store(path, mode="r+")
        if again.run_paths():
            assert len(again.run("m/imported/none").written()[0]) in {0, 3}
            unfinished += 1
        import_samples(again, ask(tmp_path / "f.npy", seeds="0-2"))
        assert_vectors(again, dict(enumerate(values)))
    assert not fault.killed
    assert unfinished > 3
