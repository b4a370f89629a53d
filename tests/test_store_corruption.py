"""Damaged files are errors that name run, seeds and steps, and the rest still reads."""

import shutil

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from reprostore import layout
from reprostore.errors import CorruptionError, FormatError
from reprostore.specs import Subset
from reprostore.store import create_store, open_store
from reprostore.store.checked import CheckedArray
from reprostore.store.run import WRITTEN
from reprostore.testing.store import fake_states, run_spec, step_table, write_units

# Units and shards of 4 seeds, chunks of 2 seeds and one step.
SPECS = {
    "float": run_spec("float", steps=(0, 1, 5), denoised=True),
    "bytes": run_spec("bytes", sample_shape=(3, 2, 2), steps=(7,), dtype="uint8"),
}
SEEDS = [10, 11, 12, 13, 20, 21, 22, 23, 30, 31]
CASES = [("float", "sample"), ("float", "denoised"), ("bytes", "sample")]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "store.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "UNIT_SEEDS", 4)
        patch.setattr(layout, "CHUNK_BYTES", 25)
        store = create_store(path)
        for spec in SPECS.values():
            write_units(store.add_run(spec, step_table(spec), SEEDS), 1)
    chunks = {run.spec.model: run.array("sample").chunks[0] for run in store.runs()}
    assert chunks == {"float": 2, "bytes": 2}
    return path


@pytest.fixture
def path(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "store.zarr")


@pytest.fixture
def cut():
    """Ways to damage a file, by name."""

    def flip(file):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x10
        file.write_bytes(data)

    return {
        "flipped": flip,
        "shortened": lambda file: file.write_bytes(file.read_bytes()[:-5]),
        "halved": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        "emptied": lambda file: file.write_bytes(b""),
        "zeroed": lambda file: file.write_bytes(bytes(file.stat().st_size)),
        "deleted": lambda file: file.unlink(),
    }


def group(path, name):
    return path / "runs" / SPECS[name].path


def shard(path, name, array, block):
    rest = "/".join("0" * (1 + len(SPECS[name].sample_shape)))
    return group(path, name) / array / "c" / str(block) / rest


def expected(name, array, seeds=SEEDS):
    spec = SPECS[name]
    position = ("sample", "denoised").index(array)
    return np.stack(
        [
            [fake_states(spec, seed, row)[position] for row in range(len(spec.steps))]
            for seed in seeds
        ]
    )


def view(path, name, array):
    return CheckedArray(open_store(path).run(SPECS[name].path), array)


def chunk_span(file, chunks_per_shard, chunk):
    """Find a chunk in a shard file: the index is its last part, (offset, length) and a crc32c."""
    size = 16 * int(np.prod(chunks_per_shard))
    index = np.frombuffer(file.read_bytes()[-size - 4 : -4], "<u8").reshape(*chunks_per_shard, 2)
    return [int(number) for number in index[chunk]]


@pytest.mark.parametrize(("name", "array"), CASES)
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_flipped_bit_names_run_seeds_and_step(path, name, array, part):
    rows = {"sample": 3, "denoised": 2}[array] if name == "float" else 1
    row = rows - 1
    file = shard(path, name, array, 1)
    start, length = chunk_span(file, (2, rows), (1, row))
    data = bytearray(file.read_bytes())
    data[start + int(part * (length - 1))] ^= 1
    file.write_bytes(data)
    damaged = view(path, name, array)
    step = SPECS[name].steps[row]
    # Chunk 1 of shard 1 holds the slots 6 and 7.
    with pytest.raises(CorruptionError) as error:
        damaged[:, :]
    assert f"{array} array of the run {SPECS[name].path} is damaged" in str(error.value)
    assert f"at the seeds 22-23, steps {step} (" in str(error.value)
    assert f"run `repro verify {path} --repair`" in str(error.value)
    np.testing.assert_array_equal(damaged[0:6], expected(name, array)[:6])
    np.testing.assert_array_equal(damaged[8:], expected(name, array)[8:])
    if row:
        np.testing.assert_array_equal(damaged[:, :row], expected(name, array)[:, :row])


@pytest.mark.parametrize(("name", "array"), CASES)
@pytest.mark.parametrize("how", ["shortened", "halved", "emptied", "zeroed", "deleted"])
def test_a_damaged_shard_names_its_seeds_and_the_rest_reads(path, cut, name, array, how):
    cut[how](shard(path, name, array, 1))
    damaged = view(path, name, array)
    for key in [slice(None), 5]:
        with pytest.raises(CorruptionError, match=SPECS[name].path) as error:
            damaged[key]
        assert f"seeds {'21' if key == 5 else '20-23'}, steps" in str(error.value)
    np.testing.assert_array_equal(damaged[:4], expected(name, array)[:4])
    np.testing.assert_array_equal(damaged[8:], expected(name, array)[8:])


def test_lazy_samples_raise_when_the_damaged_part_is_computed(path, cut):
    cut["deleted"](shard(path, "float", "sample", 2))
    samples = open_store(path).samples(models=["float"])["sample"]
    with pytest.raises(CorruptionError, match=r"seeds 30-31, steps [015] "):
        samples.compute(scheduler="synchronous")
    part = samples.sel(seed=[12, 22]).compute(scheduler="synchronous").values[0, 0, 0]
    np.testing.assert_array_equal(part, expected("float", "sample", [12, 22]))


def test_unwritten_slots_are_no_damage(path):
    run = open_store(path, mode="r+").run(SPECS["float"].path)
    run.grow([40, 41, 42])
    stored = CheckedArray(run, "sample")[:]
    assert np.isnan(stored[10:]).all()
    np.testing.assert_array_equal(stored[:10], expected("float", "sample"))


@pytest.mark.parametrize("how", ["flipped", "shortened", "halved", "emptied", "zeroed"])
@pytest.mark.parametrize("array", ["status", "digest", "session", "noise_probe", "seed"])
def test_damaged_metadata_names_the_run_and_others_read(path, cut, array, how):
    file = group(path, "float") / array / "c" / ("1/0" if array == "noise_probe" else "1")
    if array == "seed":
        file = file.with_name("0")
    cut[how](file)
    store = open_store(path)
    run = store.run(SPECS["float"].path)
    with pytest.raises(CorruptionError, match=f"runs/{SPECS['float'].path}/{array}"):
        {"status": lambda: run.status, "seed": lambda: run.seeds}.get(
            array, lambda: run.recorded(array)
        )()
    if array in ("status", "seed"):
        with pytest.raises(CorruptionError, match=array):
            store.samples(models=["float"])
    else:
        np.testing.assert_array_equal(CheckedArray(run, "sample")[:], expected("float", "sample"))
        assert len(run.recorded(array, slice(0, 4))) == 4  # the part that is not damaged
    other = store.samples(models=["bytes"])["sample"].values[0, 0, 0]
    np.testing.assert_array_equal(other, expected("bytes", "sample"))


@pytest.mark.parametrize("array", ["digest", "session", "noise_probe"])
def test_a_deleted_metadata_file_names_run_and_seeds(path, array):
    shutil.rmtree(group(path, "float") / array / "c")
    run = open_store(path).run(SPECS["float"].path)
    with pytest.raises(CorruptionError, match=f"array {array} of the run {run.path} .* 20-23 are"):
        run.recorded(array, slice(5, 8))


def test_deleted_seeds_are_damage_and_no_seed_minus_one(path):
    shutil.rmtree(group(path, "float") / "seed" / "c")
    run = open_store(path, mode="r+").run(SPECS["float"].path)
    for attempt in [lambda: run.seeds, run.written, lambda: run.grow([1])]:
        with pytest.raises(CorruptionError, match="none/seed/c/0 does not exist"):
            attempt()


def test_a_slot_without_its_seed_is_damage_and_no_seed_minus_one(path):
    open_store(path, mode="r+").run(SPECS["float"].path).array("seed")[3] = -1
    run = open_store(path).run(SPECS["float"].path)
    with pytest.raises(CorruptionError, match="incomplete: 9 of 10 are there"):
        run.written()


def test_a_deleted_status_file_makes_its_unit_missing_and_it_is_written_again(path):
    (group(path, "float") / "status" / "c" / "1").unlink()
    run = open_store(path, mode="r+").run(SPECS["float"].path)
    assert [unit.index for unit in run.missing_units()] == [1]
    write_units(run, 2)
    np.testing.assert_array_equal(CheckedArray(run, "denoised")[:], expected("float", "denoised"))


@pytest.mark.parametrize("how", ["flipped", "halved", "emptied", "zeroed"])
def test_a_damaged_shard_of_a_missing_unit_is_replaced(path, cut, how):
    (group(path, "float") / "status" / "c" / "1").unlink()
    for array in ("sample", "denoised"):
        cut[how](shard(path, "float", array, 1))
    run = open_store(path, mode="r+").run(SPECS["float"].path)
    write_units(run, 2)
    for array in ("sample", "denoised"):
        np.testing.assert_array_equal(CheckedArray(run, array)[:], expected("float", array))


def test_growing_over_a_damaged_shard_is_an_error_and_changes_nothing(path, cut):
    run = open_store(path, mode="r+").run(SPECS["float"].path)
    run.grow([40, 41])
    file = shard(path, "float", "sample", 2)
    cut["flipped"](file)
    before = file.read_bytes()
    with pytest.raises(CorruptionError, match="seeds 30-31"):
        write_units(run, 2)
    assert file.read_bytes() == before
    assert (run.status[8:] == [WRITTEN, WRITTEN, 0, 0]).all()


@pytest.mark.parametrize("array", ["sample", "status", "seed", "sigma"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"node_type": "array"}', b"\xff"])
def test_a_damaged_array_zarr_json_names_the_array(path, array, content):
    file = group(path, "float") / array / "zarr.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    store = open_store(path, mode="r+")
    with pytest.raises(CorruptionError, match=f"runs/{SPECS['float'].path}/{array} of the store"):
        store.samples(models=["float"]).compute()
    other = store.samples(models=["bytes"])["sample"].values[0, 0, 0]
    np.testing.assert_array_equal(other, expected("bytes", "sample"))


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b"null", b"\xff", b'{"zarr_format": 3, "node_type": "group"}'],
)
def test_a_damaged_group_zarr_json_names_the_run_and_is_never_replaced(path, content):
    file = group(path, "float") / "zarr.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    store, spec = open_store(path, mode="r+"), SPECS["float"]
    with pytest.raises(CorruptionError, match=f"attributes of the run {spec.path} cannot be read"):
        store.samples()
    with pytest.raises(CorruptionError, match=f"attributes of the run {spec.path} cannot be read"):
        store.add_run(spec, step_table(spec), SEEDS)
    assert shard(path, "float", "sample", 0).exists()
    other = store.samples(models=["bytes"])["sample"].values[0, 0, 0]
    np.testing.assert_array_equal(other, expected("bytes", "sample"))


def test_edited_attributes_do_not_fit_their_checksum(path):
    file = group(path, "float") / "zarr.json"
    file.write_text(file.read_text().replace('"noise_scale": 1.0', '"noise_scale": 2.0'))
    spec = SPECS["float"]
    with pytest.raises(CorruptionError, match=r"have the checksum .* is recorded"):
        open_store(path).run(spec.path).spec  # noqa: B018  # the property reads


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"attributes": {"reprostore": 1}}'])
def test_a_damaged_root_is_no_store(path, content):
    (path / "zarr.json").write_bytes(content)
    with pytest.raises(FormatError, match="is no sample store"):
        open_store(path)


def test_an_array_of_another_zarr_version_is_not_opened(tmp_path):
    """Arrays of version 2 may name pickle as their codec; the store's are of version 3."""
    store = create_store(tmp_path / "a.zarr")
    spec = run_spec("a")
    run = store.add_run(spec, step_table(spec), range(3))
    write_units(run, 1)
    folder = store.path / run.group / "status"
    shutil.rmtree(folder)
    zarr.create_array(
        LocalStore(folder), shape=(3,), dtype="uint8", chunks=(3,), zarr_format=2, overwrite=True
    )[...] = 1
    with pytest.raises(CorruptionError, match="status of the store cannot be opened"):
        open_store(store.path).run(run.path).status  # noqa: B018


def test_an_edited_attribute_outside_the_identity_is_noticed(tmp_path):
    store = create_store(tmp_path / "a.zarr")
    spec = run_spec("a")
    trained_on = Subset(dataset="digits", index="0-39")
    model_spec = spec.model_spec.model_copy(update={"trained_on": trained_on})
    spec = spec.model_copy(update={"model_spec": model_spec})
    run = store.add_run(spec, step_table(spec), range(3))
    metadata = store.path / run.group / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"0-39"', '"0-29"'))
    with pytest.raises(CorruptionError, match="attributes of the run a/sampler/none have the chec"):
        open_store(store.path).run(run.path).spec  # noqa: B018
