"""Options of the analysis `memorization`."""

from typing import Annotated

from pydantic import Field

from reprostore.specs import Name, Spec

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class MemorizationOptions(Spec):
    """Options of the analysis `memorization`.

    Attributes
    ----------
    encoder : str
        In whose space replication, AuthPct and C_T are computed; the other metrics use pixels.
    metrics : tuple of str, optional
        Which metrics; all when left out.
    models, samplers : tuple of str, optional
        Names of the runs; all of the study when left out.
    control : bool
        Compute the same of held-out items, which the study must then name.
    ratio : float
        A sample is memorized if d1/d2 is below this.
    epsilon : float
        EMM is the largest N whose memorized ratio is at least 1 − this.
    alpha : float
        Factor of the adaptive rule.
    neighbors : int
        Nearest training items of the adaptive rule.
    delta : float
        Normalized L2 distance up to which an item counts as extracted.
    eidetic : int
        An extracted item is eidetic if at most so many training items lie within delta of it.
    replication_threshold : float
        Cosine above which a sample replicates a training item.
    clique_size, clique_samples : int
        Least size of a clique, and how many samples are looked at for cliques.
    clique_threshold : float
        Largest tiled distance of two samples of a clique, in normalized L2.
    cells : int
        Cells of C_T.
    resamples : int
        Of the bootstrap and of subsampling.
    confidence : float
        Of all intervals.
    rng_seed : int
        Seed of all randomness.
    """

    encoder: Name = "pixel"
    metrics: tuple[str, ...] | None = None
    models: tuple[Name, ...] | None = None
    samplers: tuple[Name, ...] | None = None
    control: bool = True
    ratio: Share = 1 / 3
    epsilon: Share = 0.1
    alpha: Positive = 0.5
    neighbors: Annotated[int, Field(ge=2)] = 50
    delta: Positive = 0.15
    eidetic: Annotated[int, Field(ge=1)] = 10
    replication_threshold: Annotated[float, Field(ge=-1, le=1)] = 0.5
    clique_size: Annotated[int, Field(ge=2)] = 10
    clique_samples: Annotated[int, Field(ge=2)] = 500
    clique_threshold: Positive = 0.15
    cells: Annotated[int, Field(ge=1)] = 3
    resamples: Annotated[int, Field(gt=0)] = 1000
    confidence: Share = 0.95
    rng_seed: Annotated[int, Field(ge=0)] = 0
