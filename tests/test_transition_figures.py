"""Figures of the transition draw what the result says, and means over models are sound."""

import math

import numpy as np
import pytest
from analyzing import pictures
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from test_transition import build, module

from reprostore.search import knn
from reprostore.store import create_store
from reprostore_analyses.context import Context
from reprostore_analyses.plots import FIGURES, save_figure
from reprostore_analyses.plots.transition_regimes import SHADES
from reprostore_analyses.statistics import bootstrap_mean, wilson_interval
from reprostore_analyses.transition_dimension import NEIGHBORS, dimension_of, estimate_dimension
from reprostore_analyses.transition_lines import Line, mean_share, natural, sort_lines
from reprostore_analyses.transition_options import TransitionOptions

OPTIONS = TransitionOptions(threshold=0.9, resamples=200, dimension="off", r=0.7)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    context = Context(build(tmp_path_factory.mktemp("figures")))
    return context, module.transition(context, OPTIONS)


def curves(axes):
    """Return (x, y) of the lines that have markers: those of scores."""
    return [
        (line.get_xdata(), line.get_ydata())
        for line in axes.lines
        if line.get_marker() not in ("", "None") and len(line.get_xdata()) > 1
    ]


def test_curves_are_the_scores(case):
    context, result = case
    left, right = FIGURES["transition"]["curves"](context, result, OPTIONS).axes
    shown = [y.tolist() for _, y in curves(left)]
    assert shown[:2] == [result["rp"].values[0].tolist(), result["rp"].values[1].tolist()]
    assert [y.tolist() for _, y in curves(right)] == result["gl"].values.tolist()
    assert all(x.tolist() == [4, 8, 16] for x, _ in curves(right))
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata().tolist() for line in dashed] == [[1, 1, 1]]  # once, though two models
    band = right.collections[0].get_paths()[0].vertices
    at = result.isel(architecture=0)
    for x, low, high in zip(result["size"].values, at["gl_low"].values, at["gl_high"].values,
                            strict=True):  # fmt: skip
        ends = band[np.isclose(band[:, 0], x)][:, 1]
        assert (ends.min(), ends.max()) == pytest.approx((low, high))


def test_agreement_with_closed_forms(case):
    context, result = case
    (axes,) = FIGURES["transition"]["oracle"](context, result, OPTIONS).axes
    shown = [y.tolist() for _, y in curves(axes)]
    expected = [result.sel(line=f"unet {w} × oracle")["rp"].values.tolist() for w in (16, 32)]
    assert shown[:2] == expected


def test_shading_is_that_of_the_regimes(case):
    context, result = case
    (axes,) = FIGURES["transition"]["regimes"](context, result, OPTIONS).axes
    names = result.attrs["regimes"]
    codes = result["regime"].values
    from matplotlib.colors import to_rgb

    for name, color in SHADES.items():
        own = [p for p in axes.patches if p.get_facecolor()[:3] == to_rgb(color)]
        strips = [p for p in own if p.get_y() > 1]
        assert len(strips) == (codes == names.index(name)).sum()
        spans = [p for p in own if p.get_y() <= 0]
        assert len(spans) == (codes == names.index(name)).all(axis=0).sum()
    # at N = 4 both memorize: from the edge to the middle between 4 and 8
    (span,) = [p for p in axes.patches if p.get_y() <= 0]
    assert span.get_x() + span.get_width() == pytest.approx(math.sqrt(32))


def test_other_axes_and_what_is_missing(case):
    context, result = case
    left, right = FIGURES["transition"]["axes"](context, result, OPTIONS).axes
    assert [x.tolist() for x, _ in curves(left)] == result[
        "size_per_root_parameters"
    ].values.tolist()
    assert 'dimension = "off".' in " ".join(t.get_text() for t in right.texts)


def test_nothing_to_compare_is_said(case, tmp_path):
    context, _ = case
    options = OPTIONS.model_copy(update={"models": ("w0-8",)})
    result = module.transition(context, options)
    said = {}
    for name, plot in FIGURES["transition"].items():
        figure = plot(context, result, options)
        said[name] = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
        save_figure(figure, tmp_path / f"{name}.png")
    assert "No two models were trained on equally many items." in said["curves"]
    assert 'There is no run of a model with source = "oracle"' in said["oracle"]


@pytest.mark.parametrize("name", FIGURES["transition"])
def test_texts_stay_in_the_figure(case, name):
    context, result = case
    figure = FIGURES["transition"][name](context, result, OPTIONS)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    inside = figure.bbox.padded(1)
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible() and text.figure is not None:
            box = text.get_window_extent(canvas.get_renderer())
            axes = text.axes
            if axes is not None and not axes.bbox.padded(60).overlaps(box):
                continue  # ticks beyond the range of the axes are not drawn
            assert inside.x0 <= box.x0, text.get_text()
            assert box.x1 <= inside.x1, text.get_text()
            assert text.get_fontsize() >= 8 or "$" in text.get_text()


# --- means over models ---------------------------------------------------------------------------


def test_one_model_has_wilsons_interval():
    hits = np.arange(40)[None] < 7
    low, high = wilson_interval(7, 40)
    assert mean_share(hits, OPTIONS) == pytest.approx((7 / 40, float(low), float(high)))


def test_models_that_do_the_same_count_as_one():
    hits = np.repeat(np.arange(40)[None] < 7, 3, axis=0)
    share, low, high = mean_share(hits, OPTIONS)
    expected = [float(end) for end in wilson_interval(7, 40)]
    assert share == 7 / 40
    assert low <= expected[0] + 1e-12
    assert high >= expected[1] - 1e-12
    none = mean_share(np.zeros((3, 40), dtype=bool), OPTIONS)
    assert none == pytest.approx((0, 0, float(wilson_interval(0, 40)[1])))


def test_independent_models_are_surer_than_one():
    rng = np.random.default_rng(0)
    hits = rng.random((4, 1000)) < 0.5
    share, low, high = mean_share(hits, OPTIONS)
    resampled = bootstrap_mean(hits.mean(axis=0), rng=np.random.default_rng(1), resamples=1000)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 4000), rel=0.15)
    assert (low, high) == pytest.approx((float(resampled.low), float(resampled.high)), abs=4e-3)
    assert low < share < high


@pytest.mark.parametrize("p", [0.004, 0.03, 0.5])
def test_intervals_of_means_hold_near_zero_too(p):
    """Two models that share two thirds of their hits, on 256 seeds."""
    rng, inside, alone = np.random.default_rng(int(1000 * p)), 0, 0
    for _ in range(300):
        common = rng.random(256) < 2 / 3
        draws = rng.random((3, 256)) < p
        hits = np.where(common, draws[0], draws[1:])
        _, low, high = mean_share(hits, OPTIONS)
        inside += low <= p <= high
        resampled = bootstrap_mean(hits.mean(axis=0), rng=rng, resamples=200)
        alone += bool(resampled.low <= p <= resampled.high)
    assert inside / 300 >= 0.925
    assert p > 0.01 or alone / 300 < 0.9  # why the bootstrap does not stand alone


def test_lines_are_ordered_by_kind_and_number():
    lines = [Line("oracle", "u 64", "oracle"), Line("architectures", "u 128", "u 256"),
             Line("architectures", "u 64", "u 128")]  # fmt: skip
    assert sort_lines(lines) == [lines[2], lines[1], lines[0]]
    assert sorted(["u 128", "u 64", "u 64 @100", "width 8"], key=natural) == [
        "u 64", "u 64 @100", "u 128", "width 8",
    ]  # fmt: skip


# --- the intrinsic dimension ---------------------------------------------------------------------

SETTINGS = {"engine": "auto", "confidence": 0.95}


def test_dimension_of_a_gaussian_in_three_dimensions():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((30, 3)))[0]
    vectors = (rng.standard_normal((1500, 3)) @ basis.T).astype(np.float32)
    found = estimate_dimension(vectors, rng=rng, **SETTINGS)
    assert found.value == pytest.approx(3, rel=0.07)
    assert found.value[0] == pytest.approx(3, abs=4 * 3 / math.sqrt(1500))
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    # Of 1/mean of independent values the standard error is d/√n; neighbors share distances.
    assert 0.9 < (found.high[0] - found.low[0]) / (4 * 3 / math.sqrt(1500)) < 1.8
    assert found.reason == ""


def test_intervals_of_the_dimension_hold_its_scatter():
    """On a torus without edges; of the estimator about its own mean."""
    rng = np.random.default_rng(0)
    values, inside = [], []
    for _ in range(60):
        angles = 2 * np.pi * rng.random((300, 2))
        torus = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        found = estimate_dimension(torus, rng=rng, **SETTINGS)
        values.append(found.value)
        inside.append((found.low, found.high))
    middle = np.mean(values, axis=0)
    covered = [(low <= middle) & (middle <= high) for low, high in inside]
    assert (np.mean(covered, axis=0) >= 0.88).all()


def test_dimension_against_brute_force_with_duplicates(tmp_path):
    from analyzing import add_dataset

    items = pictures(70, seed=5)
    store = create_store(tmp_path / "s.zarr")
    dataset, _ = add_dataset(store, tmp_path, np.concatenate([items, items[:12]]))
    found = dimension_of(dataset, np.arange(82), rng=np.random.default_rng(0), **SETTINGS)
    assert (found.items, found.duplicates) == (70, 12)
    flat = items.reshape(70, -1).astype(float)
    distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(distances, np.inf)
    distances.sort(axis=1)
    for place, k in enumerate(NEIGHBORS[:2]):
        logs = np.log(distances[:, k - 1 : k] / distances[:, : k - 1]).mean(axis=1)
        assert found.value[place] == pytest.approx(1 / logs.mean())
    assert np.isnan(found.value[2:]).all()  # 70 items have no neighborhoods of 10
    assert found.reason == "70 distinct items are too few for 10 neighbors or more."
    few = dimension_of(dataset, np.arange(20), rng=np.random.default_rng(0), **SETTINGS)
    assert np.isnan(few.value).all()
    assert "there are 20" in few.reason


def test_neighbors_at_one_distance_have_no_dimension():
    corners = np.eye(60, dtype=np.float32)
    assert knn(corners, corners, 3, "squared_l2").values[0].tolist() == [0, 2, 2]
    found = estimate_dimension(corners, rng=np.random.default_rng(0), **SETTINGS)
    assert np.isnan(found.value).all()
    assert "equally far" in found.reason
