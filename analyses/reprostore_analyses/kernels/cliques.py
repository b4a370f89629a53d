"""Samples that many others resemble: cliques of a graph of near pairs."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reprostore.errors import SpecError
from reprostore_analyses.kernels.checks import Floats, finite

MOST_STEPS = 3_000_000
"""Nodes that are looked at before the search gives up (seconds): it may take exponential time."""


def tiled_distances(images: NDArray[np.floating], tiles: int = 4) -> Floats:
    """Compute the largest root mean square difference over a grid of tiles, for all pairs.

    A maximum over tiles is large where two images agree on a plain background alone.

    Parameters
    ----------
    images : ndarray, shape (image, channel, y, x)
        In [0, 1].
    tiles : int
        Tiles along each side.

    Returns
    -------
    ndarray of float64, shape (image, image)
        In [0, 1], symmetric, 0 on the diagonal.

    Raises
    ------
    SpecError
        The images are smaller than the grid, have another number of axes, or are not finite.

    References
    ----------
    Carlini et al. 2023, arXiv 2301.13188, section 4.2: "the maximum of the ℓ2 distance across any
    of the 16 tiles"; that each tile's distance is normalized as the whole image's is our reading.
    """
    if images.ndim != 4 or min(images.shape[-2:]) < tiles:
        raise SpecError(
            f"The images have the shape {images.shape}.",
            f"Images have the shape (image, channel, y, x), and at least {tiles} × {tiles} pixels.",
            "Use fewer tiles for smaller images.",
        )
    finite(images, "pixels")
    count = len(images)
    largest = np.zeros((count, count))
    rows, columns = (np.array_split(np.arange(side), tiles) for side in images.shape[-2:])
    for y, x in itertools.product(rows, columns):
        tile = images[:, :, y[0] : y[-1] + 1, x[0] : x[-1] + 1].reshape(count, -1)
        tile = tile.astype(np.float64)
        norms = np.vecdot(tile, tile)
        squared = norms[:, None] + norms[None, :] - 2 * tile @ tile.T
        np.maximum(largest, np.sqrt(np.clip(squared, 0, None) / tile.shape[1]), out=largest)
    np.fill_diagonal(largest, 0.0)
    return np.maximum(largest, largest.T)


def in_cliques(near: NDArray[np.bool_], size: int) -> NDArray[np.bool_] | None:
    """Find the nodes of a graph that lie in a clique of at least `size` nodes.

    Parameters
    ----------
    near : ndarray of bool, shape (node, node)
        Which pairs are near; an edge is near in both directions, the diagonal is not looked at.
    size : int
        Nodes of a clique, at least 1.

    Returns
    -------
    ndarray of bool, shape (node,), or None
        None where the search was given up after `MOST_STEPS` nodes.

    Notes
    -----
    For each node that is in no clique found so far, a clique around it is searched by branch and
    bound: nodes that k colors suffice for hold no clique of more than k. Nodes of no clique are
    removed, and so are, again and again, those with fewer than `size` − 1 neighbors left.

    References
    ----------
    Carlini et al. 2023, arXiv 2301.13188, section 4.2 (cliques of at least 10 among 500 samples).
    Tomita & Seki 2003, "An efficient branch-and-bound algorithm for finding a maximum clique";
    San Segundo et al. 2011, "An exact bit-parallel algorithm for the maximum clique problem".
    """
    count = len(near)
    graph = near & near.T & ~np.eye(count, dtype=bool)
    search = _Search([_bits(row) for row in graph])
    alive, marked = (1 << count) - 1, 0
    for node in np.argsort(graph.sum(axis=1), kind="stable").tolist():
        if not alive >> node & 1 or marked >> node & 1:
            continue
        alive = search.core(alive, size)
        if not alive >> node & 1:
            continue
        clique = search.clique(alive & search.neighbors[node], size - 1)
        if search.steps > MOST_STEPS:
            return None
        if clique is None:
            alive &= ~(1 << node)
        else:
            marked |= clique | 1 << node
    return np.asarray([marked >> node & 1 for node in range(count)], dtype=bool)


class _Search:
    """A search for cliques; sets of nodes are bits of integers, and so are `neighbors`."""

    def __init__(self, neighbors: list[int]) -> None:
        self.neighbors = neighbors
        self.steps = 0

    def core(self, nodes: int, size: int) -> int:
        """Return the nodes that keep at least `size` − 1 neighbors among themselves."""
        while True:
            kept = sum(
                1 << node
                for node in _members(nodes)
                if (self.neighbors[node] & nodes).bit_count() >= size - 1
            )
            if kept == nodes:
                return nodes
            nodes = kept

    def clique(self, nodes: int, size: int) -> int | None:
        """Return a clique of `size` of the nodes; None without one, or after too many steps."""
        if size == 0:
            return 0
        branches = []
        color, uncolored = 0, nodes
        while uncolored:
            color += 1
            free = uncolored
            while free:
                lowest = free & -free
                node = lowest.bit_length() - 1
                uncolored ^= lowest
                free &= ~(self.neighbors[node] | lowest)
                self.steps += 1
                if color >= size:
                    branches.append(node)
        for node in reversed(branches):
            if self.steps > MOST_STEPS:
                return None
            found = self.clique(nodes & self.neighbors[node], size - 1)
            if found is not None:
                return found | 1 << node
            nodes &= ~(1 << node)
        return None


def _bits(row: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")


def _members(nodes: int) -> Iterator[int]:
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest
