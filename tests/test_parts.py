"""Parts of a study against a partition by exact fractions, and as several processes."""

import json
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from commands import Repro, subpython
from generating import (
    FINAL,
    PATH,
    arrays,
    assert_same_arrays,
    counted_batches,
    small_units,
    study,
)
from hypothesis import given
from hypothesis import strategies as st

from reprostore.errors import SpecError
from reprostore.parts import WHOLE, Part, shares
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.study_requests import requests_of, shares_of
from reprostore.testing.models import tiny_checkpoint

SAMPLERS = {"final": FINAL, "path": PATH}
SEEDS = "0-20"  # three units of each run
MODELS = ("a", "b")


def owner(work, units, run, unit, count):
    """Return the part, from 1, in whose stretch of the line a unit begins."""
    position = sum(work[:run]) + Fraction(unit * work[run], units[run])
    return floor(count * position / sum(work)) + 1


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 12)), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_every_unit_is_in_the_part_in_which_it_begins(runs, count):
    work, units = [run[0] for run in runs], [run[1] for run in runs]
    for number in range(1, count + 1):
        for run, share in enumerate(shares(Part(number, count), work)):
            own = [u for u in range(units[run]) if owner(work, units, run, u, count) == number]
            assert list(share.units(units[run])) == own
            many = share.units(10_000)
            assert share.is_empty == (len(many) == 0)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 12)), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_the_work_of_a_part_is_its_share_up_to_one_unit(runs, count):
    work, units = [run[0] for run in runs], [run[1] for run in runs]
    largest = max(Fraction(w, u) for w, u in runs)
    for number in range(1, count + 1):
        own = sum(
            Fraction(work[run] * len(share.units(units[run])), units[run])
            for run, share in enumerate(shares(Part(number, count), work))
        )
        assert abs(own - Fraction(sum(work), count)) < largest


def test_slots_are_those_of_asked_seeds_in_own_units():
    stored = np.array([50, 51, 52, 53, 0, 1, 2, 3, 4, 54, 55, 56, 5, 6])
    # units of four slots; those that hold one of 0-6 are the units 1 (0-3), 2 (4) and 3 (5, 6)
    first, second, third = (shares(Part(k, 3), [7])[0] for k in (1, 2, 3))
    found = [stored[s.slots(stored, range(7), 4)].tolist() for s in (first, second, third)]
    assert found == [[0, 1, 2, 3], [4], [5, 6]]
    assert stored[WHOLE.slots(stored, range(7), 4)].tolist() == list(range(7))


def test_work_is_the_number_of_calls_of_the_model(tmp_path):
    heun = {"scheduler": "heun", "steps": 10}  # twice a step
    loaded = study(tmp_path, samplers={"path": PATH, "heun": heun}, models=MODELS)
    parts = shares_of(requests_of(loaded), Part(1, 1))
    assert [share.work for share in parts.values()] == [3, 20, 3, 20]
    assert list(parts)[:2] == ["a/path/none", "a/heun/none"]


@pytest.mark.parametrize("text", ["1/8", " 8/8 ", "1/1"])
def test_parts_are_read(text):
    assert str(Part.parse(text)) == text.strip()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/8", r"There is no part 0 of 8\. Parts are numbered from 1 .* needs 1 more\."),
        ("9/8", "There is no part 9 of 8"),
        ("0/0", "There is no part 0 of 0"),
        ("a/b", r"The part 'a/b' is not written as .* --part 3/8 is the third of eight\."),
        ("3", "The part '3' is not"),
        ("-1/8", "The part '-1/8' is not"),
        ("1/8/2", "is not written"),
        ("٣/8", "is not written"),
        ("", "The part '' is not"),
    ],
)
def test_what_is_no_part_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        Part.parse(text)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(MODELS):
        tiny_checkpoint(folder / name, seed=seed)
    return folder


@pytest.fixture(scope="module")
def whole(base):
    loaded = study(base, SEEDS, SAMPLERS, MODELS)
    with small_units():
        generate_study(loaded)
    return arrays(loaded)


def pairs(loaded):
    """Return which (run, seed) are written."""
    return {
        (run.path, int(seed))
        for run in open_store(loaded.store_path).runs()
        for seed in run.written()[1]
    }


@pytest.mark.parametrize("count", [3, 20])
def test_parts_in_any_order_are_the_whole_study(base, tmp_path, whole, count, monkeypatch):
    loaded = study(base, SEEDS, SAMPLERS, MODELS, store=tmp_path / "s.zarr")
    batches = counted_batches(monkeypatch)
    rng = np.random.default_rng(count)
    seeds, written, models = {}, 0, 0
    with small_units():
        for number in (rng.permutation(count) + 1).tolist():
            part = Part(number, count)
            before = pairs(loaded) if loaded.store_path.exists() else set()
            rows = generate_study(loaded, part=part)
            new = pairs(loaded) - before
            assert len(new) == sum(row["written"] for row in rows)
            models += len({path.split("/")[0] for path, _ in new})
            for row in rows:
                assert row["written"] == row["seeds"] == sum(p == row["run"] for p, _ in new)
                seeds[row["run"]] = seeds.get(row["run"], 0) + row["seeds"]
            written += len(new)
            assert [row["written"] for row in generate_study(loaded, part=part)] == [0] * len(rows)
    assert seeds == {f"{m}/{s}/none": 21 for m in MODELS for s in SAMPLERS}
    assert written == 21 * 4 == sum(map(len, batches))
    assert models <= min(count, 12) + 1  # only the part in the middle may load both
    assert_same_arrays(arrays(loaded), whole)


def test_parts_of_more_seeds_leave_what_is_written(base, tmp_path, whole):
    loaded = study(base, "0-10", SAMPLERS, MODELS, store=tmp_path / "s.zarr")
    grown = study(base, SEEDS, SAMPLERS, MODELS, store=tmp_path / "s.zarr")
    with small_units():
        generate_study(loaded)
        rows = [generate_study(grown, part=Part(number, 3)) for number in (3, 1, 2)]
    assert sum(row["seeds"] for part in rows for row in part) == 21 * 4
    assert sum(row["written"] for part in rows for row in part) == 10 * 4
    assert_same_arrays(arrays(grown), whole)


def test_a_part_does_not_wait_for_the_units_of_others(base, tmp_path):
    from reprostore.store.locks import try_lock

    loaded = study(base, SEEDS, {"final": FINAL}, ("a",), store=tmp_path / "s.zarr")
    with small_units():
        generate_study(study(base, "0-3", {"final": FINAL}, ("a",), store=tmp_path / "s.zarr"))
        held = try_lock(loaded.store_path, "runs/a/final/none/unit-2")
        rows = generate_study(loaded, part=Part(1, 2))
        held.release()
    assert rows == [{"run": "a/final/none", "seeds": 16, "written": 12}]


STUDY = """\
store = "s.zarr"
seeds = "0-5"
batch_size = 2
[models.a]
source = "a"
[models.b]
source = "b"
[samplers.ddim2]
scheduler = "ddim"
steps = 2
"""


def test_the_option(base, capsys, monkeypatch, tmp_path):
    repro, path = Repro(capsys), tmp_path / "study.toml"
    path.write_text(STUDY.replace('"a"', f'"{base}/a"').replace('"b"', f'"{base}/b"'))
    monkeypatch.setattr("reprostore.layout.UNIT_SEEDS", 2)
    wrong = repro("generate", path, "--part", "0/2")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("Error: There is no part 0 of 2.")
    assert not (tmp_path / "s.zarr").exists()
    second = repro("generate", path, "--part", "2/2", "--json")
    assert second.rows == [{"run": "b/ddim2/none", "seeds": 6, "written": 6}]
    assert second.document["inputs"]["part"] == "2/2"
    first = repro("generate", path, "--part", "1/2")
    assert "part 1/2" in first.out
    assert "b/ddim2" not in first.out
    whole = repro("generate", path, "--json")
    assert whole.document["inputs"]["part"] is None
    assert [(row["seeds"], row["written"]) for row in whole.rows] == [(6, 0)] * 2


def test_a_finished_part_imports_nothing_heavy(base, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace('"a"', f'"{base}/a"').replace('"b"', f'"{base}/b"'))
    from reprostore.study import load_study

    generate_study(load_study(path), part=Part(1, 2))
    program = (
        "import json, sys\n"
        "from reprostore.parts import Part\n"
        "from reprostore.studies import generate_study\n"
        "from reprostore.study import load_study\n"
        "rows = generate_study(load_study(sys.argv[1]), part=Part(1, 2))\n"
        "print(json.dumps([rows, sorted({'torch', 'diffusers'} & set(sys.modules))]))\n"
    )
    done = subpython("-W", "error", "-c", program, path)
    assert done.code == 0, done.err
    assert json.loads(done.out) == [[{"run": "a/ddim2/none", "seeds": 6, "written": 0}], []]
