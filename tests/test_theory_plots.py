"""Figures and table of `theory`: what they show is what the result says."""

import numpy as np
import pytest
from analyzing import add_dataset
from commands import Repro, subpython
from matplotlib.colors import to_hex
from test_plots import everything, overlapping, pictures, texts, visible_texts
from theorizing import SIGMA, add_path, checkered

from reprostore.images import to_uint8
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.plots import FIGURES, save_figure
from reprostore_analyses.plots.theory import COLORS, SHOWN, sigma_positions
from reprostore_analyses.theory import TheoryOptions, theory

LEVELS = [[1, 2, 20, 30, 40], [0, 0, 0, 0, 2], [20, 20, 20, 20, 20], [1, 1, 1, 30, 30]]
SEEDS = 12


def levels_of(seed):
    return LEVELS[seed % 4]


def away(levels, seed):
    return np.stack([checkered(level, seed) for level in levels])


def make(tmp_path, networks=("net",), *, sigma=SIGMA, items=True, **fields):
    """Return a context, and the result of networks whose seeds leave as in LEVELS."""
    store = create_store(tmp_path / "s.zarr")
    datasets = {}
    if items:
        images = np.random.default_rng(0).integers(0, 256, (10, 1, 6, 6), dtype=np.uint8)
        _, datasets["items"] = add_dataset(store, tmp_path, images)
    fields = {"sigma": sigma, **fields}
    for name in networks:
        add_path(store, name, {s: away(levels_of(s), s) for s in range(SEEDS)}, **fields)
    for name, source, level in (("best", "oracle", 0), ("wiener", "gaussian", 10)):
        paths = {s: away([level] * len(sigma), s) for s in range(SEEDS)}
        add_path(store, name, paths, source=source, **fields)
    context = Context(store, base=tmp_path, datasets=datasets)
    return context, theory(context, TheoryOptions())


def draw(name, context, result):
    return FIGURES["theory"][name](context, result, TheoryOptions())


def test_curves_are_the_quantiles_of_the_result(tmp_path):
    context, result = make(tmp_path, ("a", "b"))
    figure = draw("sigma", context, result)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    for place, axes in enumerate(figure.axes):
        one = result.isel(run=place)
        drawn = [line for line in axes.lines if len(line.get_xdata()) > 2]
        curves = {to_hex(line.get_color()): line for line in drawn}
        for kind, color in COLORS.items():
            middle = one["path_quantile"].sel(reference=kind, quantile=0.5)
            line = curves[color.lower()]
            np.testing.assert_array_equal(line.get_ydata(), middle)
            np.testing.assert_array_equal(line.get_xdata()[:-1], SIGMA[:-1])
        assert 0 < curves[COLORS["oracle"].lower()].get_xdata()[-1] < SIGMA[-2]  # σ = 0
        left, right = axes.get_xlim()
        assert left > SIGMA[0] > SIGMA[-2] > right  # noise falls to the right
        bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
        highest = one["path_quantile"].sel(quantile=0.95).max("row").values
        np.testing.assert_allclose([band.max() for band in bands], highest)
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["1", "10", "0"]
    assert "falling to the right" in everything(figure)
    assert "δ = 15" in texts(figure)


def test_departures_are_the_shares_of_the_result(tmp_path):
    context, result = make(tmp_path)
    figure = draw("departures", context, result)
    (axes,) = figure.axes
    assert result["gone"].sel(reference="oracle").values.tolist() == [[0.25, 0.25, 0.5, 0.75, 0.75]]
    drawn = [line.get_ydata() for line in axes.lines]
    expected = result["gone"].isel(run=0).values
    np.testing.assert_array_equal(drawn, expected)
    shown = everything(figure)
    assert "net, oracle: 0.50 leave (median σ 1.25" in shown
    assert "0.25 stay, 0.25 never near" in shown


def test_the_ends_of_the_axis(tmp_path):
    every = np.asarray([np.inf, 10.0, 1.0, 0.0])
    found = sigma_positions(every, every)
    np.testing.assert_allclose(found, [10**1.5, 10, 1, 10**-0.5])
    context, result = make(tmp_path, sigma=(np.inf, 10.0, 2.0, 0.5, 0.0))
    for name in ("sigma", "departures"):
        labels = [t.get_text() for t in draw(name, context, result).axes[0].get_xticklabels()]
        assert labels == ["1", "10", "0", "∞"]


def test_pictures_are_those_of_the_same_seed(tmp_path):
    context, result = make(tmp_path)
    figure = draw("samples", context, result)
    drawn = np.stack(pictures(figure)).reshape(4, 8, 6, 6)
    items = context.dataset("items").read(slice(0, 10))[:, 0]
    for seed in range(8):
        np.testing.assert_array_equal(drawn[0, seed], to_uint8(away(levels_of(seed), seed)[-1, 0]))
        np.testing.assert_array_equal(drawn[1, seed], to_uint8(checkered(0, seed)[0]))
        np.testing.assert_array_equal(drawn[2, seed], to_uint8(checkered(10, seed)[0]))
        nearest = int(result["train_index"].sel(seed=seed)[0])
        np.testing.assert_array_equal(drawn[3, seed], items[nearest])
    for kind in ("oracle", "gaussian"):
        for value in result["similarity"].sel(reference=kind)[0, :8].values:
            assert f"{value:.3f}" in texts(figure)


def test_seeds_shown_are_common_ones(tmp_path):
    store = create_store(tmp_path / "s.zarr")
    for name, source, seeds in (("net", None, range(8)), ("best", "oracle", (7, 3, 5)),
                                ("wiener", "gaussian", range(4, 9))):  # fmt: skip
        add_path(store, name, {s: away([0] * 5, s) for s in seeds}, source=source)
    result = theory(Context(store), TheoryOptions())
    figure = draw("samples", Context(store), result)
    assert [t for t in texts(figure) if t.startswith("seed ")] == ["seed 5", "seed 7"]
    assert len(pictures(figure)) == 3 * 2  # no dataset, so no items


@pytest.mark.parametrize("case", ["no path", "one form", "one seed", "four channels"])
def test_what_is_missing_leaves_the_rest(tmp_path, case):
    store = create_store(tmp_path / "s.zarr")
    seeds = range(1 if case == "one seed" else 3)
    fields = {"record_denoised": False} if case == "no path" else {}
    shape = (4, 6, 6) if case == "four channels" else (1, 6, 6)
    paths = {s: np.broadcast_to(away([0] * 5, s), (5, *shape)) for s in seeds}
    add_path(store, "net", paths, **fields)
    add_path(store, "best", paths, source="oracle", **fields)
    if case != "one form":
        add_path(store, "wiener", paths, source="gaussian", **fields)
    result = theory(Context(store), TheoryOptions())
    for name in FIGURES["theory"]:
        figure = draw(name, Context(store), result)
        shown = everything(figure)
        assert overlapping(figure, visible_texts(figure)) == [], name
        if name == "samples":
            assert ("No pictures: samples have 4 channels" in shown) == (case == "four channels")
        else:
            assert ("were not recorded" in shown) == (case == "no path")
        save_figure(figure, tmp_path / f"{name}.png")


@pytest.mark.parametrize("count", [1, 3, 10])
def test_texts_neither_overlap_nor_leave_the_figure(tmp_path, count):
    names = [f"unet-with-a-very-long-name-{i:02d}-trained-for-ever" for i in range(count)]
    context, result = make(tmp_path, names)
    for name in FIGURES["theory"]:
        figure = draw(name, context, result)
        found = [text for text in visible_texts(figure) if text.get_rotation() == 0]
        assert min(text.get_fontsize() for text in found) >= 8
        assert overlapping(figure, found) == [], name
        shown = "6" if name == "samples" else str(SHOWN)
        assert (f"The first {shown} of 10 runs" in everything(figure)) == (count == 10)


def test_the_command_shows_and_draws(tmp_path, capsys):
    context, result = make(tmp_path)
    run = Repro(capsys)
    store = str(context.store.path)
    done = run("analyze", "theory", "--store", store, "--option", "tolerance=15")
    assert done.code == 0, done.err
    assert "δ 15 of 255" in done.out
    line = next(line for line in done.out.splitlines() if "oracle" in line)
    assert ".50/.25/.25" in line
    assert "1.25 [0.5, 2]" in line
    folder = tmp_path / "s.figures"
    names = {"theory-sigma.png", "theory-departures.png", "theory-samples.png"}
    assert names <= {path.name for path in folder.iterdir()}
    done = run("analyze", "theory", "--store", store, "--json", "--no-figures")
    rows = done.rows
    assert [row["reference"] for row in rows] == ["oracle", "gaussian"]
    assert rows[0]["departure_sigma"] == float(result["departure_sigma"].sel(reference="oracle")[0])


def test_a_kept_answer_needs_no_heavy_library(tmp_path):
    context, _ = make(tmp_path)
    code = f"""
import sys
from reprostore.store import open_store
import reprostore_analyses as ra
ra.theory(open_store({str(context.store.path)!r}))
heavy = {{"torch", "diffusers", "faiss", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subpython("-c", code)
    assert done.code == 0, done.err
