"""The plan of runs that a store has already."""

from generating import FINAL, study

from reprostore.planning import plan_study
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.testing.models import tiny_checkpoint


def test_the_units_of_a_run_stay_those_it_was_begun_with(tmp_path):
    tiny_checkpoint(tmp_path / "net")
    samplers = {"begun": FINAL}
    generate_study(study(tmp_path, "0-3", samplers))
    again = study(tmp_path, "0-1099", samplers | {"new": FINAL}, batch_size=300)
    begun, new = plan_study(again)
    # Whole batches of at least 512 seeds: 128 of 4, or 2 of 300.
    assert open_store(again.store_path).run("net/begun/none").unit_length == 512
    assert (begun["run"], begun["missing"], begun["units"]) == ("net/begun/none", 1096, 3)
    assert (new["run"], new["missing"], new["units"]) == ("net/new/none", 1100, 2)
