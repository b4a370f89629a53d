"""Figures draw what the result says: read back from their artists, against plain NumPy values."""

import dataclasses
import importlib
import itertools
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from reprostore.errors import StorageError
from reprostore.ingest import ingest
from reprostore.specs import DatasetSpec, EncoderSpec, ModelSpec, Subset
from reprostore.store import create_store, open_store
from reprostore.testing.store import fake_states, run_spec, step_table, write_units
from reprostore_analyses.agreement import AgreementOptions, agreement
from reprostore_analyses.computing import Computed
from reprostore_analyses.context import Context
from reprostore_analyses.generalization import GeneralizationOptions, generalization
from reprostore_analyses.pictures import draw_pictures
from reprostore_analyses.plots import FIGURES, save_figure
from reprostore_analyses.plots.pictures import LONGEST, picture
from reprostore_analyses.plots.style import run_labels, shortened, value_range
from reprostore_analyses.registry import ANALYSES
from reprostore_analyses.relations import RELATIONS
from reprostore_analyses.reproducibility import ReproducibilityOptions

GRID = np.round(np.linspace(-1, 1, 401), 3)
ORANGE = (0xD5 / 255, 0x5E / 255, 0.0)
BLUE = (0.0, 0x72 / 255, 0xB2 / 255)
ITEMS = 12


def symmetric(rng, count, low=0.0, high=1.0):
    values = rng.uniform(low, high, (count, count))
    values = (values + values.T) / 2
    np.fill_diagonal(values, np.nan)
    return values


def falling(rng, *shape):
    """Curves over GRID that fall from 1 to 0."""
    middle = rng.uniform(0.3, 0.9, (*shape, 1))
    return 1 / (1 + np.exp(20 * (GRID - middle)))


def agreeing(paths, *, relation=1, order=None, **attrs):
    """Return a result of `reproducibility` with invented values."""
    rng, count = np.random.default_rng(len(paths)), len(paths)
    rp = symmetric(rng, count)
    curve = falling(rng, count, count)
    curve = (curve + curve.transpose(1, 0, 2)) / 2
    curve[np.arange(count), np.arange(count)] = np.nan
    relations = np.where(np.eye(count, dtype=bool), -1, relation)
    matrices = {
        "rp": rp,
        "rp_low": rp - 0.03,
        "rp_high": rp + 0.04,
        "rp_all_low": rp - 0.06,
        "rp_all_high": rp + 0.06,
        "chance": symmetric(rng, count, 0.01, 0.02),
        "corrected": rp,
        "mae_score": rp,
        "mae_score_low": rp,
        "mae_score_high": rp,
        "mae_chance": rp,
        "mae_corrected": rp,
        "chance_threshold": rp,
        "rp_beyond_chance": rp,
        "rp_beyond_chance_low": rp,
        "rp_beyond_chance_high": rp,
        "pairs": np.full((count, count), 512),
        "relation": relations,
        "checked": (relations >= 0).astype(np.uint8),
    }
    return xr.Dataset(
        {name: (("run_a", "run_b"), values) for name, values in matrices.items()}
        | {
            "curve": (("run_a", "run_b", "threshold"), curve),
            "chance_curve": (("run_a", "run_b", "threshold"), curve**3),
            "order": ("run_a", rng.permutation(count) if order is None else order),
        },
        coords={"run_a": paths, "run_b": paths, "threshold": GRID},
        attrs={
            "encoder": "pixel",
            "threshold": 0.9,
            "drift": {},
            "unchecked": {},
            "ceiling": None,
            **attrs,
        },
    )


def copying(paths, *, datasets="items", sizes=None, seeds=16, **attrs):
    """Return a result of `generalization` with invented values."""
    rng, count = np.random.default_rng(len(paths)), len(paths)
    columns = {"seeds": np.full(count, seeds), "held_out_size": np.full(count, 6)}
    columns["train_size"] = np.full(count, 6) if sizes is None else np.asarray(sizes)
    for name in ("gl", "memorized", "held_out_memorized", "calibrated_threshold",
                 "calibrated_memorized"):  # fmt: skip
        value = rng.uniform(0.4, 0.9, count)
        columns |= {name: value, f"{name}_low": value - 0.05, f"{name}_high": value + 0.03}
    return xr.Dataset(
        {name: ("run", values) for name, values in columns.items()}
        | {
            "similarity": (("run", "seed"), rng.uniform(0.8, 1, (count, seeds))),
            "train_index": (("run", "seed"), rng.integers(0, ITEMS, (count, seeds))),
            "curve": (("run", "threshold"), falling(rng, count)),
            "held_out_curve": (("run", "threshold"), falling(rng, count)),
        },
        coords={"run": paths, "seed": np.arange(seeds), "threshold": GRID},
        attrs={"encoder": "pixel", "threshold": 0.9, "drift": {}, "reasons": {}, "confidence": 0.95,
               "datasets": [datasets] * count, "index": ["0-5"] * count, **attrs},
    )  # fmt: skip


def make_context(tmp_path, models, *, shape=(1, 4, 4), kind="image", seeds=range(16)):
    """Return a store with one run of every model, and a dataset of ITEMS images."""
    store = create_store(tmp_path / "s.zarr")
    rng = np.random.default_rng(0)
    image_shape = shape if kind == "image" else (1, 4, 4)
    items = rng.integers(0, 256, (ITEMS, *image_shape), dtype=np.uint8)
    np.save(tmp_path / "items.npy", items if image_shape[0] > 1 else items[:, 0])
    spec = DatasetSpec(source="items.npy")
    ingest(store, "items", spec, tmp_path)
    session = store.start_session({"device": "cpu"})
    for place, name in enumerate(models):
        weights = "01"[place % 2] * 64
        of_run = run_spec(
            name, "ddim", kind=kind, sample_shape=shape, steps=(0, 1), weights=weights
        )
        write_units(store.add_run(of_run, step_table(of_run), seeds), session)
    context = Context(
        store,
        base=tmp_path,
        datasets={"items": spec},
        encoders={"pixel": EncoderSpec(kind="pixel")},
    )
    return context, items


@pytest.fixture
def nothing(tmp_path):
    """A context of an empty store: most figures need no data."""
    return Context(create_store(tmp_path / "empty.zarr"))


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def everything(figure):
    return " ".join(" ".join(texts(figure)).split())


def pictures(figure):
    return [image.get_array() for image in figure.findobj(AxesImage)]


def lines_of(axes, style):
    """Return the curves of a line style: lines of two points mark something else."""
    lines = [line for line in axes.lines if line.get_linestyle() == style]
    return [line for line in lines if len(line.get_xdata()) > 2]


def overlapping(figure, objects):
    """Return pairs of texts whose ink overlaps, and texts that leave the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [(text, text.get_window_extent(renderer)) for text in objects]
    bad = [
        (a.get_text(), b.get_text())
        for (a, box_a), (b, box_b) in itertools.combinations(boxes, 2)
        if box_a.padded(-1).overlaps(box_b.padded(-1))
    ]
    inside = figure.bbox.padded(1)
    bad += [
        text.get_text()
        for text, box in boxes
        if not (inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0
                and box.y1 <= inside.y1)
    ]  # fmt: skip
    return bad


def visible_texts(figure):
    figure.savefig(os.devnull, format="png")  # lays out, and sets the tick labels
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if not low <= tick.get_loc() <= high:
                beyond |= {tick.label1, tick.label2}
    found = (text for text in figure.findobj(Text) if text.get_text() and text.get_visible())
    return [text for text in found if text not in beyond]


def test_every_analysis_has_its_figures():
    assert {name: set(plots) for name, plots in FIGURES.items()} == {
        "reproducibility": {"matrix", "thresholds"},
        "generalization": {"thresholds", "samples"},
        "agreement": {"agreement"},
        "distances": {"distances"},
        "duplicates": {"duplicates"},
        "fidelity": {"sets"},
        "memorization": {"rules", "suspects"},
        "theory": {"sigma", "departures", "samples"},
        "transition": {"curves", "oracle", "regimes", "axes"},
    }
    assert set(FIGURES) == set(ANALYSES)


# the matrix


def matrix(context, result, **options):
    return FIGURES["reproducibility"]["matrix"](context, result, ReproducibilityOptions(**options))


def test_the_matrix_shows_the_scores_in_order(nothing):
    paths = [f"{name}/ddim/none" for name in "abcd"]
    order = np.asarray([2, 0, 3, 1])
    result = agreeing(paths, order=order)
    figure = matrix(nothing, result)
    axes, bar = figure.axes
    [image] = axes.images
    expected = result["rp"].values[np.ix_(order, order)]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), expected)
    assert image.get_clim() == (0, 1)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["c", "a", "d", "b"]
    assert bar.get_ylabel() == "RP score (pixel, θ = 0.9), n = 512 seeds"
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(written) == 2 * (16 - 4)
    for row, column in itertools.permutations(range(4), 2):
        value = expected[row, column]
        in_cell = {t for (x, y), t in written.items() if x == column and abs(y - row) < 0.5}
        low, high = (f"{v:.2f}"[1:] for v in (value - 0.03, value + 0.04))
        assert in_cell == {f"{value:.2f}"[1:], f"{low}–{high}"}


def test_the_matrix_names_chance_level_and_ceiling(nothing):
    result = agreeing(["a/s/none", "b/s/none", "c/s/none"])
    result["chance"].values[:] = [[np.nan, 0.004, 0.012], [0.004, np.nan, 0.007],
                                  [0.012, 0.007, np.nan]]  # fmt: skip
    result.attrs["ceiling"] = {"a/s/none | b/s/none": 0.75, "a/s/none | c/s/none": 0.5}
    caption = everything(matrix(nothing, result))
    assert "Chance level 0.004–0.012." in caption
    assert "Ceiling (one model, or one recipe trained twice) 0.50–0.75." in caption


@pytest.mark.parametrize(("count", "cells"), [(9, 72), (20, 380), (21, 0)])
def test_numbers_are_left_out_where_they_do_not_fit(nothing, count, cells):
    figure = matrix(nothing, agreeing([f"{i}/s/none" for i in range(count)]))
    assert len(figure.axes[0].texts) == cells
    assert "95 % intervals over seeds reach at most 0.04 from the score." in everything(figure)


def test_pairs_without_score_are_hatched_and_not_numbered(nothing):
    result = agreeing([f"{name}/s/none" for name in "abc"], order=[0, 1, 2])
    for name in ("rp", "rp_low", "rp_high"):
        result[name].values[0, 2] = result[name].values[2, 0] = np.nan
    figure = matrix(nothing, result)
    covers = {(c.get_x() + 0.5, c.get_y() + 0.5): c.get_hatch()
              for c in figure.axes[0].patches if isinstance(c, Rectangle)}  # fmt: skip
    assert covers == {(0, 0): None, (1, 1): None, (2, 2): None, (2, 0): "////", (0, 2): "////"}
    assert len(figure.axes[0].texts) == 2 * 4
    assert "Hatched: not compared" in everything(figure)


def test_a_matrix_without_any_score_is_drawn(nothing, tmp_path):
    result = agreeing(["a/s/none", "b/s/none"])
    for name in ("rp", "rp_low", "rp_high", "chance", "curve", "chance_curve"):
        result[name].values[:] = np.nan
    for name in ("matrix", "thresholds"):
        figure = FIGURES["reproducibility"][name](nothing, result, ReproducibilityOptions())
        assert "undefined" in everything(figure)
        save_figure(figure, tmp_path / f"{name}.png")


@pytest.mark.parametrize("count", [3, 22])
def test_unchecked_pairs_and_drifted_runs_are_marked(nothing, count):
    paths = [f"m{i}/s/none" for i in range(count)]
    result = agreeing(paths, order=np.arange(count), drift={paths[2]: {"batch_size": [1, 2]}},
                      unchecked={f"{paths[0]} | {paths[1]}": "shapes"})  # fmt: skip
    result["checked"].values[[0, 1], [1, 0]] = 0
    figure = matrix(nothing, result)
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert [label for label in labels if "*" in label] == ["m2*"]
    marked = [text.get_position() for text in axes.texts if "†" in text.get_text()]
    cells_marked = {(x, round(y)) for x, y in marked}
    assert cells_marked == {(1, 0), (0, 1)}
    assert "† It could not be checked" in everything(figure)
    assert "* Computed in differing ways" in everything(figure)


# curves


def thresholds(context, analysis, result, **options):
    kind = {"reproducibility": ReproducibilityOptions, "generalization": GeneralizationOptions}
    return FIGURES[analysis]["thresholds"](context, result, kind[analysis](**options))


def test_reproducibility_lines_are_the_curves(nothing):
    result = agreeing([f"{name}/s/none" for name in "abc"])
    figure = thresholds(nothing, "reproducibility", result)
    axes = figure.axes[0]
    pairs = sorted(itertools.combinations(range(3), 2), key=lambda p: -result["rp"].values[p])
    solid, dashed = lines_of(axes, "-"), lines_of(axes, "--")
    assert len(solid) == len(dashed) == 3
    for (i, j), line, chance in zip(pairs, solid, dashed, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), GRID)
        np.testing.assert_array_equal(line.get_ydata(), result["curve"].values[i, j])
        np.testing.assert_array_equal(chance.get_ydata(), result["chance_curve"].values[i, j])
        assert line.get_color() == chance.get_color()
    assert len({line.get_color() for line in solid}) == 3
    [vertical] = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert list(vertical.get_xdata()) == [0.9, 0.9]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == [
        f"{'abc'[i]} × {'abc'[j]}: RP {v:.2f} [{v - 0.03:.2f}, {v + 0.04:.2f}]"
        for i, j in pairs
        for v in [result["rp"].values[i, j]]
    ]


def test_compare_restricts_the_curves(nothing):
    result = agreeing([f"{name}/s/none" for name in "abc"])
    figure = thresholds(nothing, "reproducibility", result, compare=[("c", "a")])
    [line] = lines_of(figure.axes[0], "-")
    np.testing.assert_array_equal(line.get_ydata(), result["curve"].values[0, 2])
    empty = thresholds(nothing, "reproducibility", result, compare=[("a", "elsewhere")])
    assert "There is no pair of runs to show" in everything(empty)


def test_many_pairs_are_colored_by_relation(nothing):
    relation = np.full((8, 8), 1)
    relation[:3, :3] = 3
    result = agreeing([f"{i}/s/none" for i in range(8)], relation=relation)
    figure = thresholds(nothing, "reproducibility", result)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [entry.split(", RP")[0] for entry in entries] == [
        f"{RELATIONS[1]}: 25 pairs",
        f"{RELATIONS[3]}: 3 pairs",
    ]
    solid = lines_of(figure.axes[0], "-")
    colors = [line.get_color() for line in solid]
    assert len(colors) == 28
    assert sorted(map(colors.count, set(colors))) == [3, 25]


def test_the_range_holds_what_moves_and_the_threshold(nothing):
    result = agreeing(["a/s/none", "b/s/none"])
    step = np.where(GRID < 0.55, 1.0, 0.0)
    step[np.isclose(GRID, 0.5) | np.isclose(GRID, 0.6)] = 0.5
    result["curve"].values[:] = step
    low, high = thresholds(nothing, "reproducibility", result).axes[0].get_xlim()
    assert 0.45 < low < 0.5
    assert 0.9 < high < 0.95


def test_generalization_lines_are_the_curves(nothing):
    result = copying([f"{name}/s/none" for name in "ab"])
    figure = thresholds(nothing, "generalization", result, q=0.05)
    axes = figure.axes[0]
    for name, style in (("curve", "-"), ("held_out_curve", "--")):
        drawn = [line.get_ydata() for line in lines_of(axes, style)]
        np.testing.assert_array_equal(drawn, result[name].values)
    diamonds = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "D"]
    expected = np.stack([result["calibrated_threshold"], result["calibrated_memorized"]], axis=1)
    np.testing.assert_allclose(diamonds, expected)
    for place, container in enumerate(axes.containers):
        horizontal, vertical = (bars.get_segments()[0] for bars in container[2])
        x, y = expected[place]
        np.testing.assert_allclose(horizontal, [[x - 0.05, y], [x + 0.03, y]])
        np.testing.assert_allclose(vertical, [[x, y - 0.05], [x, y + 0.03]])
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    memorized, unseen = result["memorized"].values, result["held_out_memorized"].values
    assert entries == [
        f"{name}, 6 training items: copies {m:.2f} [{m - 0.05:.2f}, {m + 0.03:.2f}], unseen {u:.2f}"
        for name, m, u in zip("ab", memorized, unseen, strict=True)
    ]
    assert "which 0.05 of these exceed" in everything(figure)


def test_without_held_out_items_there_is_no_reference(nothing, tmp_path):
    result = copying(["a/s/none"])
    result["held_out_size"].values[:] = 0
    for name in ("held_out_curve", "held_out_memorized", "calibrated_threshold",
                 "calibrated_memorized"):  # fmt: skip
        result[name].values[:] = np.nan
    figure = thresholds(nothing, "generalization", result)
    assert len(lines_of(figure.axes[0], "-")) == 1
    assert lines_of(figure.axes[0], "--") == []
    assert "unseen" not in everything(figure)
    assert "Dashed" not in everything(figure)
    save_figure(figure, tmp_path / "a.png")


def test_many_runs_are_colored_by_their_number_of_training_items(nothing):
    sizes = [32] * 6 + [128] * 7
    result = copying([f"{i}/s/none" for i in range(13)], sizes=sizes)
    figure = thresholds(nothing, "generalization", result)
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["32 training items: 6 runs", "128 training items: 7 runs"]
    colors = [line.get_color() for line in lines_of(figure.axes[0], "-")]
    assert [len(set(colors[:6])), len(set(colors[6:])), len(set(colors))] == [1, 1, 2]


# pictures


def samples(context, result):
    return FIGURES["generalization"]["samples"](context, result, GeneralizationOptions())


def as_shown(image):
    """The uint8 image (y, x) or (y, x, 3) of a sample (channel, y, x) in [-1, 1]."""
    grey = np.clip(np.rint((image.astype(np.float32) + 1) * np.float32(127.5)), 0, 255)
    return np.moveaxis(grey.astype(np.uint8), 0, -1).squeeze()


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 8)])
def test_samples_stand_over_their_nearest_items(tmp_path, shape):
    context, items = make_context(tmp_path, ["a", "b"], shape=shape)
    result = copying(["a/ddim/none", "b/ddim/none"])
    figure = samples(context, result)
    assert len(figure.axes) == 2
    for run, axes in enumerate(figure.axes):
        images = [image.get_array() for image in axes.images]
        assert len(images) == 16
        for seed in range(8):
            state, _ = fake_states(context.store.run(f"{'ab'[run]}/ddim/none").spec, seed, 1)
            np.testing.assert_array_equal(images[2 * seed], as_shown(state))
            item = items[result["train_index"].values[run, seed]]
            np.testing.assert_array_equal(images[2 * seed + 1], np.moveaxis(item, 0, -1).squeeze())
        similarity = result["similarity"].values[run, :8]
        assert [text.get_text() for text in axes.texts] == [f"{s:.3f}" for s in similarity]
        framed = [patch.get_edgecolor()[:3] == pytest.approx(ORANGE) for patch in axes.patches]
        assert framed == list(np.repeat(similarity > 0.9, 2))
        assert 0 < sum(framed) < 16  # else the line above shows nothing
        left, right, bottom, top = axes.images[0].get_extent()
        assert (bottom - top) / (right - left) == pytest.approx(shape[1] / shape[2])


def test_the_first_common_seeds_are_shown(tmp_path):
    context, _ = make_context(tmp_path, ["a"], seeds=[*range(8, 16), *range(8)])
    result = copying(["a/ddim/none", "a/ddim/none"])
    result["train_index"].values[0, [0, 3]] = -1
    result["train_index"].values[1, 1] = -1
    figure = samples(context, result)
    shown = [2, 4, 5, 6, 7, 8, 9, 10]
    assert [text for text in texts(figure) if text.startswith("seed ")] == [
        f"seed {seed}" for seed in shown
    ]
    spec = context.store.run("a/ddim/none").spec
    for seed, image in zip(shown, pictures(figure)[0:16:2], strict=True):
        np.testing.assert_array_equal(image, as_shown(fake_states(spec, seed, 1)[0]))


def test_runs_without_a_common_seed_leave_cells_empty(tmp_path):
    context, _ = make_context(tmp_path, ["a"], seeds=range(4))
    result = copying(["a/ddim/none", "a/ddim/none"], seeds=8)
    result["train_index"].values[0, 4:] = -1
    result["similarity"].values[0, 4:] = np.nan
    result["train_index"].values[1, :4] = -1
    figure = samples(context, result)
    assert [len(axes.images) for axes in figure.axes] == [8, 8]
    assert "nan" not in everything(figure)
    assert "seeds of any run, since none is common, not chosen" in everything(figure)


@pytest.mark.parametrize(
    ("kind", "shape", "why"),
    [("trajectory", (5, 2), "trajectory data, not images"), ("image", (4, 2, 2), "4 channels")],
)
def test_what_is_no_picture_is_said(tmp_path, kind, shape, why):
    context, _ = make_context(tmp_path, ["a"], kind=kind, shape=shape)
    figure = samples(context, copying(["a/ddim/none"]))
    assert pictures(figure) == []
    assert why in everything(figure)


def test_large_pictures_are_averaged_down():
    sample = np.full((3, 256, 128), -1, dtype=np.float32)
    sample[:, ::2] = 1  # rows alternate: every block of 3 × 3 averages to a grey
    small = picture(sample)
    assert small.shape == (85, 42, 3)
    assert max(small.shape) <= LONGEST
    assert set(np.unique(small)) == {85, 170}
    assert picture(sample[:1, :96, :96]).shape == (96, 96)


# agreement


def agreement_case(tmp_path, models=("a", "b", "c"), **store):
    """Return context, result and options of models trained on halves of the items."""
    context, items = make_context(tmp_path, models, **store)
    for place, name in enumerate(models):
        index, held_out = ("0-5", "6-11") if place % 2 == 0 else ("6-11", "0-5")
        context.models[name] = ModelSpec(
            source="x", trained_on=Subset(dataset="items", index=index), held_out=held_out
        )
    options = AgreementOptions(
        threshold=0.2, copy_threshold=0.5, compare=list(itertools.combinations(models, 2))
    )
    return context, agreement(context, options), options, items


def test_agreement_shows_scores_and_pictures(tmp_path):
    # models of one shape draw the same from a seed: `fake_states` does not know the model
    context, result, options, items = agreement_case(tmp_path)
    result["rp"].values[:] = [0.25, 0.5, 1.0]
    result["rp_low"].values[:], result["rp_high"].values[:] = [0.2, 0.4, 0.9], [0.3, 0.6, 1.0]
    figure = FIGURES["agreement"]["agreement"](context, result, options)
    scores, canvases = figure.axes[::2], figure.axes[1::2]
    assert len(scores) == len(canvases) == 3
    for place, axes in enumerate(scores):
        at = result.isel(pair=place)
        bars = [bar.get_width() for container in axes.containers for bar in container]
        copies, unseen = at["memorized"].values, at["held_out_memorized"].values
        assert bars == [float(at["rp"]), copies[0], unseen[0], copies[1], unseen[1]]
        found = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
        assert found["rp interval"] == [float(at["rp_low"]), float(at["rp_high"])]
        assert found["chance"] == [float(at["chance"])] * 2
        written = [text.get_text() for text in axes.texts]
        assert written == [f"{at['rp']:.2f}", f"{copies[0]:.2f}", f"({unseen[0]:.2f})",
                           f"{copies[1]:.2f}", f"({unseen[1]:.2f})"]  # fmt: skip
    source = generalization(
        context, GeneralizationOptions(threshold=0.5, models=("a", "b", "c"))
    )  # stored: the figure reads the same
    spec = context.store.run("a/ddim/none").spec
    for (i, j), canvas in zip([(0, 1), (0, 2), (1, 2)], canvases, strict=True):
        images = np.asarray([image.get_array() for image in canvas.images])
        own = [as_shown(fake_states(spec, seed, 1)[0]) for seed in range(8)]
        nearest = [items[source["train_index"].values[run, :8], 0] for run in (i, j)]
        np.testing.assert_array_equal(images, np.concatenate([own, nearest[0], own, nearest[1]]))
        blue = [p for p in canvas.patches if p.get_facecolor()[:3] == pytest.approx(BLUE)]
        assert len(blue) == 8  # equal samples agree
        orange = [p.get_edgecolor()[:3] == pytest.approx(ORANGE)
                  for p in canvas.patches if p not in blue]  # fmt: skip
        copies = source["similarity"].values[[i, j], :8] > 0.5
        assert orange == [*copies[0], *copies[0], *copies[1], *copies[1]]
        assert 0 < sum(orange) < 32
    caption = everything(figure)
    for part in ("16 seeds", "encoder pixel", "> 0.2 (RP)", "> 0.5;", "seeds (0-7), not chosen"):
        assert part in caption
    headlines = [text for text in texts(figure) if "×" in text]
    assert headlines == [
        f"{pair} (N = 6)" for pair in ("a (N = 6) × b", "a (N = 6) × c", "b (N = 6) × c")
    ]
    relations = [text for text in texts(figure) if text in RELATIONS]
    assert relations == ["disjoint training items", "same weights", "disjoint training items"]


def refuse(*arguments, **options):
    raise AssertionError("computed again")


def test_agreement_is_drawn_without_computing_anything(tmp_path, monkeypatch):
    context, _, options, _ = agreement_case(tmp_path)
    shutil.rmtree(context.store.path / "results")
    received = dataclasses.replace(context, store=open_store(context.store.path))
    result = agreement(received, options)
    for name in ("reproducibility", "generalization"):
        module = importlib.import_module(f"reprostore_analyses.{name}")
        monkeypatch.setattr(module, f"{name}_scores", refuse)
    figure = FIGURES["agreement"]["agreement"](received, result, options)
    assert len(pictures(figure)) == 3 * 32


@pytest.mark.parametrize("changed", ["reproducibility", "generalization", "pictures"])
def test_pictures_of_agreement_are_drawn_again_when_its_sources_change(
    tmp_path, monkeypatch, changed
):
    context, result, options, _ = agreement_case(tmp_path, ["a", "b"])

    def drawn(result):
        one = Computed(ANALYSES["agreement"], options, result)
        (path,) = draw_pictures(context, one, tmp_path / "figures")
        return path.stat().st_mtime_ns

    first = drawn(result)
    assert drawn(agreement(context, options)) == first
    module = importlib.import_module(f"reprostore_analyses.{changed}")
    monkeypatch.setattr(module, "VERSION", 99)
    assert drawn(agreement(context, options)) > first


def test_a_confidence_is_written_as_it_is(tmp_path, nothing):
    paths = [f"{name}/s/none" for name in "abc"]
    for analysis, name, make in (("reproducibility", "matrix", agreeing),
                                 ("generalization", "thresholds", copying)):  # fmt: skip
        options = ANALYSES[analysis].options(confidence=0.995)
        figure = FIGURES[analysis][name](nothing, make(paths, confidence=0.995), options)
        assert "99.5 % interval" in everything(figure), analysis
    context, result, options, _ = agreement_case(tmp_path, ["a", "b"])
    result.attrs["confidence"] = 0.995
    figure = FIGURES["agreement"]["agreement"](context, result, options)
    assert "99.5 % interval" in everything(figure)


def test_further_pairs_are_shown_without_pictures(tmp_path):
    context, result, options, _ = agreement_case(tmp_path, ["a", "b", "c", "d", "e"])
    figure = FIGURES["agreement"]["agreement"](context, result, options)
    assert len(figure.axes) == 10 + 6
    assert len(pictures(figure)) == 6 * 32
    assert "Pictures of the first 6 of 10 pairs." in everything(figure)


def test_agreement_without_pictures_or_numbers(tmp_path):
    context, result, options, _ = agreement_case(tmp_path, ["a", "b"])
    for name in ("rp", "rp_low", "rp_high", "chance", "memorized", "held_out_memorized"):
        result[name].values[:] = np.nan
    figure = FIGURES["agreement"]["agreement"](context, result, options)
    assert texts(figure).count("–") == 3
    save_figure(figure, tmp_path / "a.png")


# readable


LONG = [f"unet-with-a-very-long-name-{i:02d}-trained-for-ever/ddim-50/none" for i in range(30)]


@pytest.mark.parametrize("paths", [["a/s/none", "b/s/none"], LONG[:8], LONG], ids=len)
@pytest.mark.parametrize("analysis", ["reproducibility", "generalization"])
def test_texts_neither_overlap_nor_leave_the_figure(nothing, paths, analysis):
    make = {"reproducibility": agreeing, "generalization": copying}[analysis]
    result = make(paths)
    for name, plot in FIGURES[analysis].items():
        if name != "samples":
            figure = plot(nothing, result, ANALYSES[analysis].options())
            found = visible_texts(figure)
            assert min(text.get_fontsize() for text in found) >= 8
            assert figure.get_figwidth() * figure.dpi >= 990
            # the box of rotated text includes what is beside it, so those are left out
            assert overlapping(figure, [t for t in found if t.get_rotation() == 0]) == []


@pytest.mark.parametrize("models", [["a", "b"], [p.split("/")[0] for p in LONG[:3]]], ids=len)
def test_texts_beside_pictures_neither_overlap_nor_leave_the_figure(tmp_path, models):
    context, result, options, _ = agreement_case(tmp_path, models)
    paths = [f"{name}/ddim/none" for name in models]
    for figure in (
        FIGURES["agreement"]["agreement"](context, result, options),
        samples(context, copying(paths, drift={paths[0]: {}})),
    ):
        found = visible_texts(figure)
        assert min(text.get_fontsize() for text in found) >= 8
        assert overlapping(figure, found) == []


def test_labels_drop_what_all_runs_share():
    assert run_labels(["a/ddim/none", "b/ddim/none"]) == ["a", "b"]
    assert run_labels(["a/ddim/x", "a/euler/y"], {"a/euler/y"}) == ["ddim/x", "euler/y*"]
    assert run_labels(["a/ddim/none"]) == ["a"]
    assert run_labels([]) == []


def test_long_labels_stay_different():
    near = [f"{'x' * 30}{middle}{'y' * 30}/s/none" for middle in "ab"]
    labels = run_labels(near)
    assert len(set(labels)) == 2
    assert max(map(len, run_labels(LONG))) <= 24
    assert len(set(run_labels(LONG))) == 30
    assert shortened("abcdefghij", 5) == "ab…ij"


def test_ranges_are_written_shortly():
    assert value_range([0.1, np.nan, 0.25]) == "0.100–0.250"
    assert value_range([0.5, 0.5]) == "0.500"
    assert value_range([np.nan]) == value_range([]) == "undefined"


# files


def test_files_are_equal_for_equal_figures(nothing, tmp_path):
    result = agreeing(["a/s/none", "b/s/none"])
    for name in ("one", "two"):
        save_figure(matrix(nothing, result), tmp_path / "new" / f"{name}.png")
    first, second = ((tmp_path / "new" / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert first == second
    with Image.open(tmp_path / "new" / "one.png") as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.05)
        assert "Software" not in image.info
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.png", "two.png"]


def test_a_failed_write_leaves_the_old_file(nothing, tmp_path, monkeypatch):
    path = tmp_path / "m.png"
    path.write_bytes(b"old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    figure = matrix(nothing, agreeing(["a/s/none", "b/s/none"]))
    with pytest.raises(StorageError, match=r"m\.png cannot be written: No space left on device\."):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob(".*partial")) == []
    assert figure.axes == []


def test_a_folder_that_cannot_be_made_is_said(nothing, tmp_path):
    (tmp_path / "file").write_text("no folder")
    figure = matrix(nothing, agreeing(["a/s/none", "b/s/none"]))
    with pytest.raises(StorageError, match=r"Pictures go into a folder .* choose another folder"):
        save_figure(figure, tmp_path / "file" / "m.png")
