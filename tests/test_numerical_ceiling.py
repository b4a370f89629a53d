"""RP's ceiling: stored floors beside the scores, counted again by hand."""

import importlib

import numpy as np
import pytest
import xarray as xr
from analyzing import add_run, pictures

from reprostore.embed import EncoderHandle
from reprostore.sharing.regeneration.floor import FLOOR, VERSION, current_floors, keep_floor
from reprostore.specs import EncoderSpec
from reprostore.store import create_store, open_store
from reprostore_analyses.computing import Computed
from reprostore_analyses.context import Context
from reprostore_analyses.floor import ceiling_sentence, execution_text, similarity_text
from reprostore_analyses.footnotes import footnotes
from reprostore_analyses.pictures import draw_pictures
from reprostore_analyses.plots import FIGURES
from reprostore_analyses.registry import ANALYSES
from reprostore_analyses.reproducibility import (
    ReproducibilityOptions,
    reproducibility,
    reproducibility_rows,
)
from reprostore_cli.tables import analysis_tables

PIXEL = EncoderHandle("pixel", EncoderSpec(kind="pixel"))
module = importlib.import_module("reprostore_analyses.reproducibility")


@pytest.fixture
def store(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    for seed, model in enumerate("abc"):
        add_run(store, model, dict(enumerate(pictures(12, seed))))
    return store


def keep(store, model, similarity, *, encoder="pixel", fingerprint=PIXEL.fingerprint, batch_size=4,
         distance=False, **made_from):  # fmt: skip
    """Keep a floor whose similarities are chosen, as `regenerate` would have measured it."""
    run = store.run(f"{model}/s/none")
    count = len(similarity)
    values = np.asarray([similarity])
    nothing = np.full((1, count), np.nan)
    execution = {"batch_size": batch_size, "device": "cpu", "versions": {"torch": "2"}}
    floor = xr.Dataset(
        {
            "identical": ("seed", np.asarray(similarity) == 1),
            "state_difference": (("seed", "step"), np.zeros((count, 1))),
            "similarity": (("encoder", "seed"), nothing if distance else values),
            "distance": (("encoder", "seed"), values if distance else nothing),
            "digest": ("seed", run.recorded("digest")[:count]),
            "stored_execution": ("seed", np.zeros(count, dtype=np.int64)),
        },
        coords={"seed": run.seeds[:count], "step": [3], "encoder": [encoder]},
        attrs={
            "run": run.path,
            "question": {"version": VERSION, "runs": [run.path], "execution": execution},
            "made_from": {"run": run.spec.fingerprint, "encoders": {encoder: fingerprint}}
            | made_from,
            "execution": execution,
            "stored_executions": [{"batch_size": 2, "device": "cpu", "versions": {"torch": "1"}}],
        },
    )
    assert keep_floor(store, floor)


def row_of(result, a, b):
    rows = reproducibility_rows(result, ReproducibilityOptions())
    (row,) = (row for row in rows if (row["run_a"][0], row["run_b"][0]) == (a, b))
    return row


def score(store, **options):
    return reproducibility(Context(store), ReproducibilityOptions(**options))


def test_nothing_is_shown_where_nothing_was_measured(store):
    result = score(store)
    row = row_of(result, "a", "b")
    assert np.isnan(row["numerical_ceiling"])
    assert np.isnan(row["numerical_ceiling_low"])
    assert row["numerical_ceiling_seeds"] == 0
    assert result.attrs["floors"] == []
    assert ceiling_sentence(result) == ""
    assert not any("Numerical" in note for note in footnotes(result, [row]))


def test_the_ceiling_is_the_share_strictly_above_the_threshold(store):
    keep(store, "a", [0.5, 0.6, np.nextafter(0.6, 1), 0.9, 1.0])
    result = score(store, threshold=0.6)
    assert result["numerical_ceiling"].values[0] == 3 / 5
    assert np.isnan(result["numerical_ceiling"].values[1:]).all()
    row = row_of(result, "a", "b")
    assert (row["numerical_ceiling"], row["numerical_ceiling_seeds"]) == (0.6, 5)
    # Wilson's bounds solve |p̂ − p| = z √(p (1 − p)/n).
    for bound in (row["numerical_ceiling_low"], row["numerical_ceiling_high"]):
        assert abs(0.6 - bound) / np.sqrt(bound * (1 - bound) / 5) == pytest.approx(
            1.959964, abs=1e-5
        )
    assert np.isnan(row_of(result, "b", "c")["numerical_ceiling"])
    assert score(store, threshold=0.4)["numerical_ceiling"].values[0] == 1
    assert score(store, threshold=0.95)["numerical_ceiling"].values[0] == 1 / 5


def test_a_pair_has_the_lower_ceiling_of_its_runs_and_a_run_that_of_its_floors(store):
    keep(store, "a", [1.0] * 4)
    keep(store, "a", [1.0, 1.0, 1.0, 0.1], batch_size=8)
    keep(store, "b", [1.0, 0.1, 0.1, 1.0, 1.0, 1.0])
    result = score(store)
    np.testing.assert_array_equal(result["numerical_ceiling"].values[:2], [3 / 4, 4 / 6])
    np.testing.assert_array_equal(result["numerical_ceiling_seeds"], [4, 6, 0])
    assert row_of(result, "a", "b")["numerical_ceiling"] == 4 / 6
    assert row_of(result, "a", "c")["numerical_ceiling"] == 3 / 4
    assert [floor["run"][0] for floor in result.attrs["floors"]] == ["a", "a", "b"]
    notes = [note for note in footnotes(result, [row_of(result, "a", "c")]) if "Numerical" in note]
    assert sorted(notes) == [
        "Numerical ceiling: a/s/none, 4 samples computed again (batch_size 2 → 4, torch 1 → 2): 4 "
        "bit-identical, share 1.000 above θ to the stored ones, smallest similarity 1.",
        "Numerical ceiling: a/s/none, 4 samples computed again (batch_size 2 → 8, torch 1 → 2): 3 "
        "bit-identical, share 0.750 above θ to the stored ones, smallest similarity 0.1000.",
    ]
    assert ceiling_sentence(result) == (
        "Numerical ceiling (samples of 2 of 3 runs computed again) 0.667–1.000."
    )


@pytest.mark.parametrize("batch_sizes", [(4, 8), (8, 4)])
def test_of_equal_ceilings_that_of_more_seeds_counts(store, batch_sizes):
    """In whatever order the store lists the two."""
    keep(store, "a", [1.0, 0.1] * 2, batch_size=batch_sizes[0])
    keep(store, "a", [1.0, 0.1] * 4, batch_size=batch_sizes[1])
    row = row_of(score(store), "a", "b")
    assert (row["numerical_ceiling"], row["numerical_ceiling_seeds"]) == (1 / 2, 8)


def test_a_new_floor_counts_at_once_and_computes_nothing_again(store, monkeypatch):
    before = score(store)
    monkeypatch.setattr(module, "reproducibility_scores", None)
    keep(store, "b", [1.0, 0.0])
    result = score(store)
    assert result["numerical_ceiling"].values[1] == 0.5
    names = [name for name in result if not str(name).startswith("numerical")]
    xr.testing.assert_equal(result[names], before[names])
    # Read-only stores show it as well.
    read_only = score(open_store(store.path))
    assert read_only["numerical_ceiling"].values[1] == 0.5


def test_floors_in_another_space_or_of_other_samples_do_not_count(store):
    keep(store, "a", [0.1], encoder="sscd")
    keep(store, "a", [0.1], fingerprint="0" * 32, batch_size=5)
    keep(store, "a", [0.1], distance=True, batch_size=6)
    keep(store, "a", [0.1, np.nan], batch_size=7)
    keep(store, "a", [0.1], run="0" * 32, batch_size=8)
    assert score(store).attrs["floors"] == []
    keep(store, "a", [0.1])
    assert len(score(store).attrs["floors"]) == 1
    array = store.run("a/s/none").array("digest")
    values = array[...]
    values[0] += 1
    array[...] = values
    assert current_floors(store, store.runs()) == {}


@pytest.mark.parametrize(
    "missing", ["stored_executions", "execution", "encoders", "similarity", "identical"]
)
def test_a_floor_that_lacks_something_does_not_count(store, monkeypatch, missing):
    """As in a store from elsewhere, with a valid checksum."""

    def keep_in_part(store, floor):
        if missing in floor:
            floor = floor.drop_vars(missing)
        elif missing in floor.attrs:
            del floor.attrs[missing]
        else:
            floor.attrs["made_from"][missing] = ["pixel"]
        return original(store, floor)

    original = keep_floor
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "keep_floor", keep_in_part)
        keep(store, "a", [0.1])
    assert score(store).attrs["floors"] == []
    keep(store, "a", [0.1])
    assert len(score(store).attrs["floors"]) == 1


def test_tables_show_a_column_only_where_something_was_measured(store, capsys):
    from rich.console import Console

    def table():
        result, options = score(store), ReproducibilityOptions()
        computed = Computed(ANALYSES["reproducibility"], options, result)
        for part in analysis_tables(computed):
            Console(width=300).print(part)
        return capsys.readouterr().out

    assert "ceiling" not in table()
    keep(store, "a", [1.0, 1.0, 1.0, 0.1])
    text = table()
    head = next(line for line in text.splitlines() if "RP at it" in line).split()
    assert head[:5] == ["A", "B", "RP", "ceiling", "chance"]
    pairs = {tuple(line.split()[:2]): line.split() for line in text.splitlines()}
    assert pairs["a", "b"][5:8] == [".75", "[.30,", ".95]"]
    assert pairs["b", "c"][5] == "–"
    assert "share 0.750 above θ" in text


def test_pictures_are_drawn_again_for_a_new_floor_and_name_it(store, tmp_path):
    context, options = Context(store), ReproducibilityOptions()

    def draw():
        computed = Computed(ANALYSES["reproducibility"], options, score(store))
        return [
            path.stat().st_mtime_ns for path in draw_pictures(context, computed, tmp_path / "p")
        ]

    first = draw()
    assert draw() == first
    keep(store, "a", [1.0, 0.0])
    second = draw()
    assert all(new > old for new, old in zip(second, first, strict=True))
    assert draw() == second
    for name, plot in FIGURES["reproducibility"].items():
        figure = plot(context, score(store), options)
        texts = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
        assert "Numerical ceiling (samples of 1 of 3 runs computed again) 0.500." in texts, name


@pytest.mark.parametrize(
    ("differs", "text"),
    [
        ({}, "as before"),
        ({"batch_size": [4, 8, 2], "device": ["cpu", "cuda"]},
         "batch_size 4 and 8 → 2, device cpu → cuda"),
        ({"versions": [{"torch": "2.4", "numpy": "2"}, {"torch": "2.5", "numpy": "2"}]},
         "torch 2.4 → 2.5"),
        ({"versions": [{}, {"torch": "2.5"}]}, "torch ? → 2.5"),
    ],
)  # fmt: skip
def test_what_differs_is_told_in_words(differs, text):
    assert execution_text(differs) == text


@pytest.mark.parametrize(
    ("similarity", "text"),
    [(1.0, "1"), (1 - 2e-6, "1 − 2e-06"), (0.99951, "1 − 0.0005"), (0.99949, "0.9995"),
     (0.5, "0.5000"), (-0.25, "-0.2500")],
)  # fmt: skip
def test_no_similarity_is_rounded_to_one(similarity, text):
    assert similarity_text(similarity) == text


def test_floors_are_listed_among_the_results(store):
    from reprostore.contents import store_contents

    keep(store, "a", [1.0])
    (entry,) = (row for row in store_contents(store) if row["kind"] == "result")
    assert (entry["name"], entry["runs"]) == (FLOOR, 1)
