"""The axes beside N: over the root of the parameters, and over the dimension of the items."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reprostore_analyses.context import Context
from reprostore_analyses.transition_dimension import (
    ESTIMATORS,
    NEIGHBORS,
    Dimension,
    dimension_of,
)
from reprostore_analyses.transition_groups import Member
from reprostore_analyses.transition_options import TransitionOptions


def dimensions_of(
    context: Context, options: TransitionOptions, networks: Sequence[Member]
) -> dict[str, Dimension]:
    """Estimate the dimension of the largest set of training items from each dataset."""
    largest = {network.dataset: network for network in networks}  # the last has the most items
    found = {}
    for name in sorted(largest):
        if options.dimension == "off":
            nothing = np.full(len(NEIGHBORS), np.nan)
            found[name] = Dimension(0, 0, nothing, nothing, nothing, 'dimension = "off".')
            continue
        found[name] = dimension_of(
            context.dataset(name),
            largest[name].items,
            engine=context.engine,
            rng=np.random.default_rng(options.rng_seed),
            confidence=options.confidence,
        )
    return found


def axis_columns(
    networks: Sequence[Member],
    architectures: Sequence[str],
    sizes: Sequence[int],
    dimensions: dict[str, Dimension],
    options: TransitionOptions,
) -> dict[str, Any]:
    """Return N/√(parameters) and N/dimension, the means over the models of an architecture.

    Returns
    -------
    dict of ndarray, (architecture, size)
        `size_per_root_parameters` and `size_per_dimension`; NaN where a number is not known.

    References
    ----------
    Zhang et al. 2025, arXiv 2505.20123, N/√(parameters); Wang et al. 2024, arXiv 2409.02426,
    N/intrinsic dimension.
    """
    shape = (len(architectures), len(sizes))
    columns = {
        name: np.full(shape, np.nan) for name in ("size_per_root_parameters", "size_per_dimension")
    }
    used = NEIGHBORS.index(ESTIMATORS.get(options.dimension, NEIGHBORS[0]))
    for row, name in enumerate(architectures):
        for column, size in enumerate(sizes):
            own = [n for n in networks if (n.architecture, n.size) == (name, size)]
            roots = [
                np.nan if n.spec.parameters is None else np.sqrt(n.spec.parameters) for n in own
            ]
            spans = [dimensions[n.dataset].value[used] for n in own]
            if own:
                columns["size_per_root_parameters"][row, column] = np.mean(size / np.asarray(roots))
                columns["size_per_dimension"][row, column] = np.mean(size / np.asarray(spans))
    return columns
