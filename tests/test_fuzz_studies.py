"""Whatever stands in a study file: a study, or an error that names the file."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from fuzzing import examples, outcome, watched
from hypothesis import example, given
from hypothesis import strategies as st

from reprostore.errors import ReprostoreError, SpecError
from reprostore.study import LoadedStudy, load_study
from reprostore.testing.strategies import damaged_bytes
from reprostore.testing.study_strategies import edited_lines, study_texts

TEXTS = {
    path.relative_to(path.parents[1]).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*/*.toml"))
}
"""Real study files."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "fuzzed.toml"


def check(file, content):
    """Load a study file of this content, which must end in a study or an error that names it."""
    file.write_bytes(content)
    with watched():
        loaded = outcome(load_study, file)
        if isinstance(loaded, ReprostoreError):
            assert isinstance(loaded, SpecError)
            assert file.name in str(loaded)
            return
        assert isinstance(loaded, LoadedStudy)
        assert all(len(run) == 3 for run in loaded.study.runs())
        for sampler in loaded.study.samplers.values():
            assert sampler.recorded_steps()[-1] == sampler.steps


def encoded(text):
    return text.encode("utf-8", "surrogatepass")


@examples(60)
@given(content=study_texts().map(encoded))
def test_texts_of_known_and_unknown_keys(file, content):
    check(file, content)


@examples(60)
@given(content=st.sampled_from(list(TEXTS.values())).flatmap(edited_lines).map(encoded))
def test_real_studies_with_changed_lines(file, content):
    check(file, content)


@examples(30)
@given(content=st.sampled_from([*map(encoded, TEXTS.values())]).flatmap(damaged_bytes))
@example(b"")
@example(b"\xef\xbb\xbf")
@example(b"\xff\xfes\0t\0")
@example(bytes(2**20))
@example(b"[" * 2**20)
@example(b"a." * 2**19 + b"a = 1")
@example(b"x" * 2**20)
@example(b'"' * 2**20)
@example(b'store = "s.zarr"\n' * 50_000)
@example(b'store = "' + b"s" * 2**20 + b'"')
@example(b'store = "s.zarr"\nseeds = "' + b"0-1," * 2**18 + b'"')
@example(b'store = "s.zarr"\nseeds = "' + b"9" * 2**20 + b'"')
@example(b'store = "s.zarr"\nbatch_size = ' + b"9" * 5000)
@example(b'store = "s.zarr"\nbatch_size = 0x' + b"f" * 2**19)
@example(b'store = "s.zarr"\n' + b"".join(b"[models.m%d]\n" % n for n in range(3_000)))
@example(
    b'store = "s.zarr"\n' + b"".join(b"[models.m%d]\nsource = 'oracle'\n" % n for n in range(3_000))
)
@example(b'store = "s.zarr"\n' + b"".join(b"x%d = 1\n" % n for n in range(5_000)))
@example(
    b'store = "s.zarr"\n[samplers.a]\nscheduler = "ddim"\nsteps = 1000000000000\nrecord = "all"'
)
@example(b'store = "s.zarr"\nbatch_size = 1000000000000000000')
def test_bytes_that_are_no_study(file, content):
    check(file, content)


def listed(numbers):
    return ",".join(map(str, numbers))


SWEEP = """
store = "s.zarr"
[datasets.a]
source = "items.npy"
[recipes.a]
architecture = "unet"
objective = "epsilon"
images = 64000
[sweeps.a]
recipe = "a"
dataset = "a"
"""


@pytest.mark.parametrize(
    "lists",
    [
        f"sizes = {list(range(1, 400))}\nwidths = {list(range(8, 800, 8))}\n"
        f"trainer_seeds = {list(range(400))}",
        f"sizes = {list(range(1, 100_001))}",
    ],
)
def test_sweeps_of_very_many_models_are_refused_unexpanded(file, lists):
    file.write_text(SWEEP + lists, encoding="utf-8")
    with watched(), pytest.raises(SpecError, match="A study has at most 10000 of them"):
        load_study(file)


def test_models_and_samplers_of_very_many_runs_are_refused(file):
    tables = [f"[models.m{n}]\nsource = 'm{n}'\n" for n in range(1100)]
    tables += [f"[samplers.s{n}]\nscheduler = 'ddim'\nsteps = 2\n" for n in range(1100)]
    file.write_text('store = "s.zarr"\n' + "".join(tables), encoding="utf-8")
    with watched(), pytest.raises(SpecError, match="make 1210000 runs"):
        load_study(file)


def test_subsets_of_many_single_items_are_compared_in_order(file):
    first, more = listed(range(0, 80_000, 4)), listed(range(0, 80_000, 2))
    held_out = listed(range(1, 80_000, 2))
    file.write_text(
        SWEEP + f'subsets = ["{first}", "{more}"]\nheld_out = "{held_out}"', encoding="utf-8"
    )
    with watched():
        assert len(load_study(file).study.models) == 2


def test_a_file_that_does_not_end_is_no_study():
    with watched(), pytest.raises(SpecError, match="/dev/zero is a device"):
        load_study("/dev/zero")


def test_a_study_may_come_from_a_pipe(tmp_path):
    text = next(iter(TEXTS.values()))
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")

    def write(content):
        with (tmp_path / "pipe").open("wb") as pipe, suppress(BrokenPipeError):
            for start in range(0, len(content), 2**20):
                pipe.write(content[start : start + 2**20])
                pipe.flush()
                time.sleep(0.05)

    with watched(), ThreadPoolExecutor(1) as pool:
        written = pool.submit(write, text.encode())
        loaded = load_study(tmp_path / "pipe")
        written.result()
        assert loaded.study == load_study(tmp_path / "study.toml").study
        written = pool.submit(write, bytes(2**25))
        with pytest.raises(SpecError, match="has more than 16777216 bytes"):
            load_study(tmp_path / "pipe")
        written.result()


def test_a_file_that_is_too_large_for_a_study_is_not_read(file):
    with file.open("wb") as opened:
        opened.truncate(2**32)  # it takes no room
    with watched(), pytest.raises(SpecError, match="has more than 16777216 bytes"):
        load_study(file)
