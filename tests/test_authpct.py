"""AuthPct against brute force, and C_T as it is reported."""

import numpy as np
import pytest
from scipy import spatial, stats

from reprostore_analyses.memorization_options import MemorizationOptions
from reprostore_analyses.metrics import RUN_METRICS
from reprostore_analyses.metrics.evidence import Evidence, Space

OPTIONS = MemorizationOptions()


def evidence(generated, train, held_out):
    space = Space(*(np.asarray(part, dtype=np.float32) for part in (generated, train, held_out)))
    return Evidence(
        encoder=space,
        pixels=space,
        cosine=True,
        item_shape=(1, 1, space.train.shape[1]),
        rng=lambda: np.random.default_rng(0),
    )


def compute(name, given, who="generated"):
    metric = RUN_METRICS[name]
    return metric.compute(given, who, "train", OPTIONS)


def test_authpct_by_brute_force():
    """As in dgm-eval, ``authenticity.py``, with one interval more."""
    rng = np.random.default_rng(0)
    train, unseen = rng.normal(size=(60, 4)), rng.normal(size=(30, 4))
    made = np.concatenate([train[:25] + 0.3 * rng.normal(size=(25, 4)), rng.normal(size=(20, 4))])
    given = evidence(made, train, unseen)
    own = spatial.distance.cdist(train, train) + np.diag(np.full(60, np.inf))
    for who, part in (("generated", made), ("held_out", unseen)):
        near = spatial.distance.cdist(part, train)
        authentic = own.min(axis=1)[near.argmin(axis=1)] < near.min(axis=1)
        assert 0 < authentic.sum() < len(part)
        found = compute("authpct", given, who)
        assert found.value == pytest.approx(100 * authentic.mean())
        bounds = stats.binomtest(int(authentic.sum()), len(part)).proportion_ci(method="wilson")
        assert (found.low / 100, found.high / 100) == pytest.approx(bounds)
        assert not found.reason


def test_authpct_beside_duplicated_items_by_hand():
    """On a line: items 0, 0, 10, 13. An item that has a duplicate is at 0 from its nearest other.

    0 equals it: 0 < 0 does not hold. 0.1 and −0.1 copy it, but 0 < 0.1 holds. 9 copies item 10
    (3 < 1 does not hold), and 16.5 does not copy item 13 (3 < 3.5). 7 is as far as 3 < 3: a copy.
    """
    made = np.array([[0.0], [0.1], [-0.1], [9.0], [16.5], [7.0]])
    found = compute("authpct", evidence(made, [[0.0], [0.0], [10.0], [13.0]], [[1.0]]))
    assert found.value == pytest.approx(100 * 3 / 6)
    assert found.reason.startswith("3 items are nearest to an item that has an exact duplicate")


def test_authpct_needs_two_training_items():
    found = compute("authpct", evidence([[0.0], [1.0]], [[0.5]], [[1.0]]))
    assert np.isnan(found.value)
    assert "two training items" in found.reason


def test_ct_stands_beside_the_range_that_it_has_without_copying():
    """It is a weighted mean of standard normal z-scores, with weights that sum to 1."""
    rng = np.random.default_rng(1)
    train, unseen, made = (rng.normal(size=(n, 3)) for n in (120, 100, 100))
    found = compute("ct", evidence(made, train, unseen))
    assert abs(found.value) < 3
    assert (found.reason, np.isnan(found.low)) == ("", True)
    control = RUN_METRICS["ct"].compute(
        evidence(made, train, unseen), "held_out", "train", MemorizationOptions()
    )
    assert control.value == 0
    assert 1.96 / np.sqrt(3) - 0.01 <= control.high <= 1.96  # three cells, of any sizes
    assert control.low == -control.high
    copying = compute("ct", evidence(train[:100] + 0.01 * made, train, unseen))
    assert copying.value < -5
    few = compute("ct", evidence(made[:10], train, unseen))
    assert np.isnan(few.value)
    assert "more than 20 generated" in few.reason
