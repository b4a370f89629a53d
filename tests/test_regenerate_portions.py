"""How many samples are generated anew, and which."""

import numpy as np
import pytest

from reprostore.errors import SpecError
from reprostore.sharing.regeneration.portion import Portion


@pytest.mark.parametrize(
    ("text", "written", "expected"),
    [
        ("0.1%", 1000, 1), ("0.1%", 1001, 2), ("0.1%", 10, 1), ("0.1 %", 50000, 50),
        ("100%", 7, 7), ("50%", 5, 3), ("33.3%", 1000, 333), ("7%", 100, 7),
        ("32", 1000, 32), ("32", 8, 8), ("1", 1, 1), (" 5% ", 100, 5), ("0.000000000001%", 10, 1),
    ],
)  # fmt: skip
def test_portions(text, written, expected):
    assert Portion.parse(text).of(written) == expected


@pytest.mark.parametrize(
    "text",
    ["0", "0%", "0.0%", "101%", "100.1%", "abc", "", "%", "-1", "-5%", "1.5", "1/3", "1e3", "5%%",
     "٣", "nan%", "1,5%", "99999999999"],
)  # fmt: skip
def test_portions_that_are_none(text):
    with pytest.raises(SpecError, match=r'Write, for example, "0\.1%" or "32"\.'):
        Portion.parse(text)


def test_the_choice_depends_on_seed_and_run_and_not_on_the_order():
    seeds = np.arange(1000)
    portion = Portion.parse("5%")
    chosen = portion.choose(seeds, 0, "a/s/none")
    assert len(set(chosen.tolist())) == 50
    np.testing.assert_array_equal(chosen, portion.choose(seeds, 0, "a/s/none"))
    assert set(chosen.tolist()) != set(portion.choose(seeds, 1, "a/s/none").tolist())
    assert set(chosen.tolist()) != set(portion.choose(seeds, 0, "b/s/none").tolist())
    shuffled = np.random.default_rng(0).permutation(seeds)
    assert set(shuffled[portion.choose(shuffled, 0, "a/s/none")].tolist()) == set(chosen.tolist())
    # Each seed is as likely as any other: 200 choices of 5 % hit each about 10 times.
    hits = np.zeros(1000)
    for rng_seed in range(200):
        hits[portion.choose(seeds, rng_seed, "a/s/none")] += 1
    assert hits.sum() == 200 * 50
    assert abs(hits.var() / (200 * 0.05 * 0.95) - 1) < 0.2
    assert hits.min() >= 1
