"""GL of each architecture over N, where it passes one half, and the regimes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reprostore_analyses.kernels import SigmoidFit, crossing_bracket, fit_sigmoid, regimes
from reprostore_analyses.statistics import wilson_interval
from reprostore_analyses.transition_groups import Member
from reprostore_analyses.transition_lines import Line, mean_share, natural
from reprostore_analyses.transition_options import TransitionOptions

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


def architectures_of(networks: Sequence[Member]) -> list[str]:
    """Return the names of the architectures, the smaller numbers first."""
    return sorted({network.architecture for network in networks}, key=natural)


def curve_columns(
    networks: Sequence[Member],
    copying: xr.Dataset,
    sizes: Sequence[int],
    options: TransitionOptions,
) -> Columns:
    """Average the GL of the models of each architecture at each N.

    Parameters
    ----------
    networks : sequence of Member
        The networks.
    copying : xarray.Dataset
        Of `generalization`, over the runs of the networks in their order.
    sizes : sequence of int
        N, rising.
    options : TransitionOptions
        Threshold, resampling and confidence.

    Returns
    -------
    dict of ndarray, (architecture, size)
        `gl` and `held_out_gl` with `_low` and `_high`, and the numbers of `models`, `gl_seeds`
        and `held_out_items`. `held_out_gl` is the share of real items without a similar training
        item; where models have several sets of training items, it is that of all sets together.
        NaN and 0 where there is no model.
    """
    names = architectures_of(networks)
    shape = (len(names), len(sizes))
    scores = ("gl", "held_out_gl")
    columns: Columns = {
        name + bound: np.full(shape, np.nan) for name in scores for bound in ("", "_low", "_high")
    }
    columns |= {
        name: np.zeros(shape, dtype=np.int64) for name in ("models", "gl_seeds", "held_out_items")
    }
    similarity = copying["similarity"].values
    for row, name in enumerate(names):
        for column, size in enumerate(sizes):
            own = [
                place
                for place, network in enumerate(networks)
                if (network.architecture, network.size) == (name, size)
            ]
            if not own:
                continue
            at = (row, column)
            values = similarity[own][:, ~np.isnan(similarity[own]).any(axis=0)]
            estimate = mean_share(values <= options.thresholds["copy"], options)
            real, items = _held_out(networks, copying, own, options)
            for score, found in zip(scores, (estimate, real), strict=True):
                for bound, value in zip(("", "_low", "_high"), found, strict=True):
                    columns[score + bound][at] = value
            columns["models"][at], columns["gl_seeds"][at] = len(own), values.shape[1]
            columns["held_out_items"][at] = items
    return columns


def _held_out(
    networks: Sequence[Member], copying: xr.Dataset, own: list[int], options: TransitionOptions
) -> tuple[tuple[float, float, float], int]:
    """Return the GL of held-out items over the sets of training items, and their number.

    One held-out item against two sets of training items is no two observations: the interval is
    that of as many items as the largest set of held-out items has.
    """
    hits = items = most = 0
    seen: list[int] = []
    for place in own:
        size = int(copying["held_out_size"][place])
        held_out = copying.attrs["held_out"]
        if size == 0 or any(
            networks[place].saw_the_same(networks[o]) and held_out[place] == held_out[o]
            for o in seen
        ):
            continue
        seen.append(place)
        hits += round(float(copying["held_out_memorized"][place]) * size)
        items, most = items + size, max(most, size)
    if items == 0:
        return (math.nan,) * 3, 0
    share = 1 - hits / items
    low, high = wilson_interval(share * most, most, options.confidence)
    return (1 - hits / items, float(low), float(high)), items


def fit_columns(
    networks: Sequence[Member],
    copying: xr.Dataset,
    curves: Columns,
    sizes: Sequence[int],
    options: TransitionOptions,
) -> tuple[Columns, dict[str, str]]:
    """Fit GL in log2 N for each architecture.

    Returns
    -------
    columns : dict of ndarray, (architecture,)
        `n50` with `_low` and `_high`, `slope` per doubling of N, `dispersion`, and the bracket of
        sizes `bracket_low`, `bracket_high`.
    reasons : dict
        Why something is NaN, by architecture.
    """
    names = architectures_of(networks)
    fields = ("n50", "n50_low", "n50_high", "slope", "dispersion", "bracket_low", "bracket_high")
    columns = {name: np.full(len(names), np.nan) for name in fields}
    reasons: dict[str, str] = {}
    novel = (copying["similarity"].values <= options.thresholds["copy"]).sum(axis=1)
    for row, name in enumerate(names):
        own = [place for place, network in enumerate(networks) if network.architecture == name]
        x = np.log2([networks[place].size for place in own])
        fit: SigmoidFit = fit_sigmoid(
            x, novel[own], copying["seeds"].values[own], options.confidence
        )
        for key, value in (
            ("n50", fit.midpoint), ("n50_low", fit.low), ("n50_high", fit.high),
        ):  # fmt: skip
            columns[key][row] = 2.0**value
        columns["slope"][row], columns["dispersion"][row] = fit.slope, fit.dispersion
        there = ~np.isnan(curves["gl"][row])
        bracket = crossing_bracket(np.asarray(sizes)[there], curves["gl"][row][there])
        columns["bracket_low"][row], columns["bracket_high"][row] = bracket
        if fit.reason:
            reasons[name] = fit.reason
    return columns, reasons


def regime_columns(
    architectures: Sequence[str],
    lines: Sequence[Line],
    rp: Floats,
    gl: Floats,
    options: TransitionOptions,
) -> Columns:
    """Tell the regime of each architecture at each N.

    Parameters
    ----------
    architectures : sequence of str
        Their names.
    lines : sequence of Line
        The lines of `rp`.
    rp : ndarray, (line, size)
        RP scores.
    gl : ndarray, (architecture, size)
        GL scores.
    options : TransitionOptions
        g and r.

    Returns
    -------
    dict of ndarray, (architecture, size)
        `regime`, -1 where it cannot be said, and `regime_rp`, the RP that it is told from: the
        mean over the other architectures, or that across trainer seeds where there are none. One
        architecture at another training step is no other architecture.
    """
    chosen = np.full(gl.shape, np.nan)
    for row, name in enumerate(architectures):
        for column in range(gl.shape[1]):
            for kind in ("architectures", "trainer seeds"):
                values = [
                    rp[place, column]
                    for place, line in enumerate(lines)
                    if line.kind == kind and name in (line.a, line.b)
                ]
                known = [float(value) for value in values if not np.isnan(value)]
                if known:
                    chosen[row, column] = sum(known) / len(known)
                    break
    return {"regime": regimes(gl, chosen, g=options.g, r=options.r), "regime_rp": chosen}
