"""Vectors in the store: those of encoding directly, made once, never trusted while in doubt."""

import hashlib
import shutil

import numpy as np
import pytest
from analyzing import SHAPE, add_dataset, add_run, damage, levels, open_tree, pictures

import reprostore.embed.datasets as datasets_module
from reprostore.embed import EncoderHandle, embed_dataset, embed_run, stored_encoder
from reprostore.errors import CorruptionError, DatasetError, NotFoundError, SpecError, StorageError
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store
from reprostore.testing.faults import killed_after
from reprostore.testing.store import run_spec, step_table, write_units

PIXEL = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
PIXELS = int(np.prod(SHAPE))


class Projection:
    """A linear encoder that counts, and can be made to fail."""

    metric = "cosine"
    dimension = 3
    batch_size = 4

    def __init__(self):
        self.matrix = np.random.default_rng(0).standard_normal((PIXELS, 3)).astype(np.float32)
        self.encoded = 0
        self.fail_at = None

    def truth(self, images):
        return (images.reshape(len(images), -1).astype(np.float32) @ self.matrix).astype(np.float32)

    def encode(self, images):
        assert images.dtype == np.uint8
        assert 1 <= len(images) <= self.batch_size
        self.encoded += len(images)
        if self.fail_at is not None and self.encoded >= self.fail_at:
            raise RuntimeError("stopped")
        # One by one: a matrix product's last bits depend on the number of rows.
        return np.concatenate([self.truth(image[None]) for image in images])


@pytest.fixture
def encoder(monkeypatch):
    encoder = Projection()
    monkeypatch.setattr(
        "reprostore.embed.handle.load_encoder", lambda *arguments, **options: encoder
    )
    return encoder


@pytest.fixture
def handle(tmp_path):
    """Return a function that makes the handle anew, as another process would."""
    (tmp_path / "w.pt").write_bytes(b"weights")

    def make(preset="sscd"):
        spec = EncoderSpec(kind="torchscript", weights="w.pt", preprocessing=preset)
        return EncoderHandle("net", spec, tmp_path)

    return make


@pytest.fixture
def store(tmp_path):
    return create_store(tmp_path / "s.zarr")


def samples(count, first=0):
    return dict(zip(range(first, first + count), pictures(count, seed=first), strict=True))


def read(vectors):
    return vectors.read(vectors.run.written()[0])


def truth(encoder, of):
    return np.concatenate([encoder.truth(image[None]) for image in of.values()])


def test_vectors_are_those_of_encoding_directly(store, encoder, handle):
    of = samples(11)
    vectors = embed_run(store, handle(), add_run(store, "a", of))
    np.testing.assert_array_equal(read(vectors), truth(encoder, of))
    assert encoder.encoded == 11
    np.testing.assert_array_equal(
        vectors.read(np.asarray([7, 2, 9])), truth(encoder, of)[[7, 2, 9]]
    )


def test_floating_samples_are_seen_as_their_png_would_be(store, encoder, handle):
    exact = pictures(6)
    nudge = np.random.default_rng(0).uniform(-0.49, 0.49, exact.shape)  # rounds to the same level
    of = {seed: levels(exact[seed] + nudge[seed]) for seed in range(6)}
    of[0] += np.where(exact[0] == 255, 3, 0).astype(np.float32)  # clipped
    run = add_run(store, "a", of, dtype="float32")
    vectors = embed_run(store, handle(), run)
    np.testing.assert_array_equal(read(vectors), truth(encoder, dict(enumerate(exact))))


def test_pixels_are_the_image_without_its_mean(store):
    of = samples(5)
    vectors = read(embed_run(store, PIXEL, add_run(store, "a", of)))
    flat = np.stack(list(of.values())).reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(vectors, flat - flat.mean(axis=1, keepdims=True), atol=1e-4)


def test_only_what_is_missing_is_encoded(store, encoder, handle):
    of = samples(9)
    run = add_run(store, "a", of)
    embed_run(store, handle(), run)
    embed_run(open_store(store.path), handle(), run)  # nothing to write
    assert encoder.encoded == 9
    more = {**of, **samples(1200, first=9)}  # beyond the first unit
    run = add_run(store, "a", more)
    assert len(run.units()) > 2
    open_tree(store).close()
    vectors = embed_run(store, handle(), run)
    assert encoder.encoded == 9 + 1200
    np.testing.assert_array_equal(read(vectors), truth(encoder, more))
    assert open_tree(store)["embeddings/net/runs/a/s/none"]["vector"].dims == (
        "seed", "step", "embedding",
    )  # fmt: skip


def test_unwritten_samples_have_no_vectors(store, encoder, handle):
    of = samples(700)
    run = add_run(store, "a", of)
    more = {**of, **samples(700, first=700)}
    run.grow(list(more))
    vectors = embed_run(store, handle(), run)
    assert encoder.encoded == 700
    with pytest.raises(CorruptionError, match="absent"):
        vectors.read(np.asarray([699, 700]))
    number = store.start_session({})
    last = run.missing_units()[-1]
    write_units(run, number, [last], states=lambda spec, seed, row: (more[seed], None))
    assert encoder.encoded == 700
    slots = run.written()[0]
    assert 0 < len(slots) < 1400
    vectors = embed_run(store, handle(), run)
    np.testing.assert_array_equal(vectors.read(slots), truth(encoder, more)[slots])


def test_a_changed_sample_is_encoded_again(store, encoder, handle):
    run = add_run(store, "a", samples(6))
    embed_run(store, handle(), run)
    changed = {**samples(6), 4: 255 - samples(6)[4]}
    digest = hashlib.blake2b(changed[4].tobytes(), digest_size=8).digest()
    run.array("sample")[4, 0] = changed[4]
    run.array("digest")[4:5] = np.frombuffer(digest, dtype="<u8")
    vectors = embed_run(store, handle(), run)
    assert encoder.encoded == 7
    np.testing.assert_array_equal(read(vectors), truth(encoder, changed))


def test_a_sample_of_another_digest_is_not_encoded(store, encoder, handle):
    run = add_run(store, "a", samples(6))
    run.array("sample")[2:4] = run.array("sample")[2:4][::-1]
    with pytest.raises(
        CorruptionError, match=r"run a/s/none is damaged at the seeds 2-3, .*digest"
    ):
        embed_run(store, handle(), run)
    assert stored_encoder(store, "net") is not None  # what is sound stays, and goes on later
    assert encoder.encoded <= 2


@pytest.mark.parametrize("change", ["weights", "preset", "run"])
def test_vectors_of_another_encoder_or_run_are_made_again(
    store, encoder, handle, tmp_path, change
):  # fmt: skip
    run = add_run(store, "a", samples(6))
    embed_run(store, handle(), run)
    encoder.matrix = encoder.matrix[::-1].copy()
    if change == "weights":
        (tmp_path / "w.pt").write_bytes(b"other weights")
    if change == "run":
        shutil.rmtree(store.path / "runs/a")
        run = add_run(store, "a", samples(6), spec={"weights": {"w": "1" * 64}})
    vectors = embed_run(store, handle("none" if change == "preset" else "sscd"), run)
    assert encoder.encoded == 12
    np.testing.assert_array_equal(read(vectors), truth(encoder, samples(6)))


def test_an_encoder_that_stops_is_continued_where_it_stopped(store, encoder, handle):
    of = samples(1300)
    run = add_run(store, "a", of)
    unit = run.units()[0].stop
    encoder.fail_at = unit + 50
    with pytest.raises(RuntimeError, match="stopped"):
        embed_run(store, handle(), run)
    encoder.fail_at, encoder.encoded = None, 0
    vectors = embed_run(store, handle(), run)
    assert encoder.encoded == 1300 - unit  # the finished unit stands
    np.testing.assert_array_equal(read(vectors), truth(encoder, of))


def test_vectors_are_right_after_a_kill_between_any_two_changes(tmp_path, encoder, handle):
    of, more = samples(3), samples(6)
    for changes in range(100):
        store = create_store(tmp_path / f"{changes}.zarr")
        embed_run(store, handle(), add_run(store, "a", of))
        run = add_run(store, "a", more)
        with killed_after(tmp_path, changes) as fault:
            embed_run(store, handle(), run)
        store = open_store(store.path, mode="r+")
        open_tree(store).close()
        vectors = embed_run(store, handle(), store.run("a/s/none"))
        np.testing.assert_array_equal(read(vectors), truth(encoder, more))
        assert list(store.path.rglob("*.partial")) == []
        if not fault.killed:
            break
    assert not fault.killed
    assert changes > 4


@pytest.mark.parametrize("kind", ["flip", "cut", "delete"])
@pytest.mark.parametrize("count", [6, 8])
def test_damaged_vectors_are_made_again(store, encoder, handle, kind, count):
    run = add_run(store, "a", samples(6))
    vectors = embed_run(store, handle(), run)
    damage(store.path / vectors.group / "vector", kind)
    received = open_store(store.path)
    with pytest.raises(CorruptionError, match=r"embeddings/net/runs/a/s/none .*made again"):
        read(embed_run(received, handle(), received.run("a/s/none")))
    recorded = stored_encoder(store, "net")  # of which only the vectors are at hand
    with pytest.raises(CorruptionError, match=r"embeddings/net/runs/a/s/none .*made again"):
        read(embed_run(store, recorded, run))
    of = samples(6) | samples(count - 6, first=6)
    run = add_run(store, "a", of)
    vectors = embed_run(store, handle(), run)
    np.testing.assert_array_equal(read(vectors), truth(encoder, of))
    assert encoder.encoded == 6 + count
    read(embed_run(received, handle(), received.run("a/s/none")))  # whole for everyone
    assert encoder.encoded == 6 + count


def test_only_the_unit_with_damaged_vectors_is_made_again(store, encoder, handle):
    of = samples(1300)
    run = add_run(store, "a", of)
    vectors = embed_run(store, handle(), run)
    damage(store.path / vectors.group / "vector/c/1", "flip")
    np.testing.assert_array_equal(read(embed_run(store, handle(), run)), truth(encoder, of))
    assert encoder.encoded == 1300 + run.units()[1].stop - run.units()[1].start


@pytest.mark.parametrize("kind", ["flip", "cut", "delete"])
def test_vectors_whose_samples_are_not_known_are_made_again(store, encoder, handle, kind):
    run = add_run(store, "a", samples(6))
    vectors = embed_run(store, handle(), run)
    damage(store.path / vectors.group / "source_digest", kind)
    np.testing.assert_array_equal(read(embed_run(store, handle(), run)), truth(encoder, samples(6)))
    assert encoder.encoded == 12


def test_a_lost_digest_of_samples_is_an_error(store, encoder, handle):
    run = add_run(store, "a", samples(6))
    damage(store.path / run.group / "digest", "delete")
    with pytest.raises(CorruptionError, match="digest of the run a/s/none"):
        embed_run(store, handle(), run)


def test_vectors_that_are_not_finite_are_refused(store, encoder, handle):
    run = add_run(store, "a", samples(6))
    encoder.matrix[0] = np.nan
    with pytest.raises(DatasetError, match="samples of the run a/s/none"):
        embed_run(store, handle(), run)
    encoder.matrix = Projection().matrix
    np.testing.assert_array_equal(read(embed_run(store, handle(), run)), truth(encoder, samples(6)))


def test_vectors_do_not_depend_on_the_batch_size(store):
    run = add_run(store, "a", samples(7))
    found = []
    for size in (1, 3, 64):
        handle = EncoderHandle(f"p{size}", EncoderSpec(kind="pixel", batch_size=size))
        found.append(read(embed_run(store, handle, run)))
        assert handle.fingerprint == PIXEL.fingerprint
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_any_recorded_step_can_be_encoded(store, encoder, handle):
    states = pictures(3 * 5, seed=3).reshape(3, 5, *SHAPE)
    made = run_spec("a", "s", sample_shape=SHAPE, steps=(0, 2, 3))
    run = store.add_run(made, step_table(made), range(5))
    write_units(
        run,
        store.start_session({}),
        states=lambda spec, seed, row: (levels(states[row, seed]), None),
    )
    vectors = embed_run(store, handle(), run, rows=(0, -1))
    assert encoder.encoded == 10
    slots = np.arange(5)
    for row in (0, 2):
        np.testing.assert_array_equal(
            vectors.read(slots, row), truth(encoder, dict(enumerate(states[row])))
        )
    with pytest.raises(CorruptionError, match="absent"):
        vectors.read(slots, 1)


def test_a_received_store_gives_its_vectors_without_the_encoder(store, encoder, handle):
    of = samples(6)
    embed_run(store, handle(), add_run(store, "a", of))
    received = open_store(store.path)
    found = stored_encoder(received, "net")
    assert found.fingerprint == handle().fingerprint
    assert found.metric == "cosine"
    np.testing.assert_array_equal(
        read(embed_run(received, found, received.run("a/s/none"))), truth(encoder, of)
    )
    assert stored_encoder(received, "other") is None
    run = add_run(store, "b", of)
    for at in (received, store):
        with pytest.raises(SpecError, match=r"missing for 6 samples of the run b/s/none.*not def"):
            embed_run(at, found, run)
    with pytest.raises(StorageError, match=r"missing for 6 samples of the run b/s/none.*reading"):
        embed_run(received, handle(), run)


def test_vectors_of_two_encoders_under_one_name_need_the_encoder(store, encoder, handle, tmp_path):
    embed_run(store, handle(), add_run(store, "a", samples(6)))
    (tmp_path / "w.pt").write_bytes(b"other weights")
    embed_run(store, handle(), add_run(store, "b", samples(6)))
    with pytest.raises(SpecError, match="2 different encoders named 'net'"):
        stored_encoder(store, "net")


def test_an_encoder_that_cannot_be_loaded_takes_nothing_away(store, encoder, handle, tmp_path):
    of = samples(6)
    run = add_run(store, "a", of)
    embed_run(store, handle(), run)
    (tmp_path / "w.pt").unlink()
    with pytest.raises(NotFoundError):
        embed_run(store, handle(), run)
    found = stored_encoder(store, "net")
    other = EncoderHandle("net", None, recorded={**found.identity, "version": 0})
    with pytest.raises(SpecError, match="not defined"):
        embed_run(store, other, run)
    np.testing.assert_array_equal(read(embed_run(store, found, run)), truth(encoder, of))


@pytest.fixture
def blocks(monkeypatch):
    monkeypatch.setattr(datasets_module, "BLOCK_ROWS", 4)


def test_items_are_encoded_once_and_continued(store, encoder, handle, tmp_path, blocks):
    images = pictures(10)
    dataset, _ = add_dataset(store, tmp_path, images)
    encoder.fail_at = 7
    with pytest.raises(RuntimeError):
        embed_dataset(store, handle(), dataset)
    encoder.fail_at, encoder.encoded = None, 0
    vectors = embed_dataset(store, handle(), dataset)
    assert encoder.encoded == 6
    expected = truth(encoder, dict(enumerate(images)))
    np.testing.assert_array_equal(vectors[0:10], expected)
    np.testing.assert_array_equal(vectors[3:6], expected[3:6])
    embed_dataset(open_store(store.path), handle(), dataset)
    assert encoder.encoded == 6
    open_tree(store).close()


def test_floating_items_are_seen_as_their_png_would_be(store, encoder, handle, tmp_path):
    exact = pictures(5)
    dataset, _ = add_dataset(store, tmp_path, exact / 255 * 4, value_range=(0, 4))
    assert dataset.items.dtype == np.float32
    vectors = embed_dataset(store, handle(), dataset)
    np.testing.assert_array_equal(vectors[0:5], truth(encoder, dict(enumerate(exact))))


@pytest.mark.parametrize("change", ["weights", "items", "finished"])
def test_vectors_of_other_items_are_made_again(store, encoder, handle, tmp_path, blocks, change):
    dataset, _ = add_dataset(store, tmp_path, pictures(10))
    embed_dataset(store, handle(), dataset)
    expected = pictures(10)
    if change == "weights":
        (tmp_path / "w.pt").write_bytes(b"other weights")
        encoder.matrix = encoder.matrix[::-1].copy()
    if change == "items":
        shutil.rmtree(store.path / "datasets/items")
        expected = pictures(9, seed=1)
        dataset, _ = add_dataset(store, tmp_path, expected)
    if change == "finished":
        damage(store.path / "embeddings/net/datasets/items/block_done", "flip")
    vectors = embed_dataset(store, handle(), dataset)
    assert vectors.shape == (len(expected), 3)
    np.testing.assert_array_equal(
        vectors[0 : len(expected)], truth(encoder, dict(enumerate(expected)))
    )


@pytest.mark.parametrize("kind", ["flip", "cut", "delete"])
def test_damaged_vectors_of_items_are_made_again(store, encoder, handle, tmp_path, kind, blocks):
    images = pictures(10)
    dataset, _ = add_dataset(store, tmp_path, images)
    embed_dataset(store, handle(), dataset)
    damage(store.path / "embeddings/net/datasets/items/vector/c/2", kind)
    damaged = r"embeddings/net/datasets/items .*made again"
    with pytest.raises(CorruptionError, match=damaged):
        embed_dataset(open_store(store.path), handle(), dataset)[0:10]
    with pytest.raises(CorruptionError, match=damaged):
        embed_dataset(store, stored_encoder(store, "net"), dataset)[0:10]
    vectors = embed_dataset(store, handle(), dataset)
    vectors[0:8]
    assert encoder.encoded == 10
    np.testing.assert_array_equal(vectors[3:10], truth(encoder, dict(enumerate(images[3:10]))))
    assert encoder.encoded == 10 + 2  # the last block
    embed_dataset(open_store(store.path), handle(), dataset)[0:10]


def test_missing_vectors_of_items_in_a_read_only_store_are_a_clear_error(
    store, encoder, handle, tmp_path
):
    dataset, _ = add_dataset(store, tmp_path, pictures(4))
    with pytest.raises(StorageError, match="missing for items of the dataset 'items'"):
        embed_dataset(open_store(store.path), handle(), dataset)
