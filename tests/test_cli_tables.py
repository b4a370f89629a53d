"""Tables of results: what a row shows, and which notes it needs."""

import io

import pytest
import xarray as xr
from rich.console import Console

from reprostore.specs import Spec
from reprostore_analyses.computing import Computed
from reprostore_analyses.footnotes import footnotes, marks, uninformative_scores
from reprostore_analyses.registry import Analysis
from reprostore_cli.output import size
from reprostore_cli.tables import analysis_tables

NAN = float("nan")
PAIR = {
    "run_a": "a/ddim/none", "run_b": "b/ddim/none", "seeds": 500,
    "rp": 0.84, "rp_low": 0.806, "rp_high": 0.87, "chance": 0.02, "corrected": 0.8367,
    "chance_threshold": 0.345, "rp_beyond_chance": 0.9, "rp_beyond_chance_low": 0.88,
    "rp_beyond_chance_high": 0.92,
    "mae_score": NAN, "mae_score_low": NAN, "mae_score_high": NAN, "mae_chance": NAN,
    "relation": "same recipe, other trainer seed", "checked": True, "drift": False,
}  # fmt: skip
RUN = {
    "run": "a/ddim/none", "seeds": 500, "train_size": 32, "held_out_size": 898, "gl": 1.0,
    "memorized": 0.0, "memorized_low": 0.0, "memorized_high": 0.0076,
    "held_out_memorized": NAN, "held_out_memorized_low": NAN, "held_out_memorized_high": NAN,
    "calibrated_threshold": 0.97, "calibrated_threshold_low": -0.5,
    "calibrated_threshold_high": 1.0, "calibrated_memorized": NAN,
    "calibrated_memorized_low": NAN, "calibrated_memorized_high": NAN, "reason": "",
}  # fmt: skip


def shown(name, rows, **attributes):
    """Return what a wide console shows of rows, as lines of cells."""
    attributes = {"encoder": "sscd", "threshold": 0.6, "confidence": 0.95} | attributes
    result = xr.Dataset(attrs=attributes)
    analysis = Analysis(name, "A question?", Spec, lambda *_: result, lambda *_: list(rows))
    console = Console(file=io.StringIO(), width=300)
    for part in analysis_tables(Computed(analysis, Spec(), result)):
        console.print(part)
    return console.file.getvalue()


def test_pairs():
    text = shown("reproducibility", [PAIR], mae_threshold=15.0)
    assert "reproducibility: A question?" in text
    assert "encoder sscd · θ 0.6 · MAE below 15 of 255 · 95 % intervals · seeds 500" in text
    line = next(line for line in text.splitlines() if ".84" in line)
    assert line.split() == [
        "a", "b", ".84", "[.81,", ".87]", ".02", ".84", ".345", ".90", "[.88,", ".92]", "–", "–",
        "other", "trainer", "seed",
    ]  # fmt: skip


@pytest.mark.parametrize(("confidence", "text"), [(0.995, "99.5 %"), (0.57, "57 %")])
def test_a_confidence_is_written_as_it_is(confidence, text):
    assert f"· {text} intervals ·" in shown("reproducibility", [PAIR], confidence=confidence)


def test_runs_of_several_samplers_and_seeds():
    other = RUN | {"run": "b/ddpm/none", "seeds": 10000, "memorized": 0.1234,
                   "memorized_low": 0.117, "memorized_high": 0.13}  # fmt: skip
    text = shown("generalization", [RUN, other], q=0.01)
    assert "calibrated q 0.01 · 95 % intervals · unseen items 898" in text
    first, second = (line.split() for line in text.splitlines() if "/none" in line)
    assert first == ["a/ddim/none", "32", "1.00", ".00", "[.00,", ".01]", "–", ".970", "[-.500,",
                     "1.000]", "–", "500"]  # fmt: skip
    assert second[:6] == ["b/ddpm/none", "32", "1.000", ".123", "[.117,", ".130]"]
    assert second[-1] == "10000"


@pytest.mark.parametrize(
    ("chance", "low", "expected"),
    [(0.02, 0.1, []), (0.1, 0.1, ["RP"]), (0.2, 0.1, ["RP"]), (0.51, 0.9, ["RP"]), (0.5, 0.9, [])],
)
def test_chance_makes_a_score_uninformative(chance, low, expected):
    row = PAIR | {"chance": chance, "rp_low": low}
    assert uninformative_scores(row) == expected
    text = shown("reproducibility", [row])
    assert (f"‡{chance:.2f}".replace("0.", ".") in text) == bool(expected)
    assert ("‡ The RP says nothing here" in text) == bool(expected)


def test_notes_name_what_they_are_about():
    result = xr.Dataset(
        attrs={
            "drift": {"a/ddim/none": {"batch_size": [4, 8]}, "c/ddim/none": {"reproduced": [1, 0]}},
            "unchecked": {"a/ddim/none | b/ddim/none": "shapes differ"},
            "skipped": ["x/ddim/none"],
        }
    )
    assert marks(result, PAIR) == "*†"
    assert marks(result, PAIR | {"run_a": "c/ddim/none"}) == "*"
    assert marks(result, PAIR | {"run_a": "d/ddim/none"}) == ""
    assert marks(result, {"model_a": "b", "model_b": "a"}) == "*†"
    assert marks(result, RUN | {"run": "z/ddim/none", "reason": "Too few items."}) == "§"
    rows = [RUN | {"run": name, "reason": "Too few items."} for name in ("a", "b")]
    assert footnotes(result, rows) == [
        "* a/ddim/none was computed in differing ways: batch_size 4 and 8.",
        "* c/ddim/none was computed in differing ways: some samples came out with other bits when "
        "computed again.",
        "† a/ddim/none | b/ddim/none: the noise was not compared, for shapes differ.",
        "§ a, b: Too few items.",
        "Left out, for nothing says what their models were trained on: x/ddim/none.",
    ]


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**40, "5.0 TiB")],
)
def test_sizes(nbytes, text):
    assert size(nbytes) == text
