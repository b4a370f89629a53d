"""What is missing is found from the study and the store alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from generating import FINAL, files, small_units, study

from reprostore.errors import IdentityError, NotFoundError
from reprostore.pending import as_written, missing_seeds
from reprostore.specs import SamplerSpec
from reprostore.store import open_store
from reprostore.studies import generate_study
from reprostore.study_requests import requests_of
from reprostore.testing.models import tiny_checkpoint
from reprostore.testing.store import write_units


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Return the folder of a study whose ten seeds are written."""
    folder = tmp_path_factory.mktemp("complete")
    tiny_checkpoint(folder / "net")
    with small_units():
        generate_study(study(folder, "0-9"))
    return folder


def missing(loaded, seeds, dtype="float32"):
    (request,) = requests_of(loaded)
    return missing_seeds(open_store(loaded.store_path), request, seeds, loaded.base, dtype)


@pytest.mark.parametrize(
    ("seeds", "count"),
    [(range(10), 0), ([3], 0), ([9, 0], 0), (range(5, 15), 5), ([10, 2**32 - 1], 2), ([], 0)],
)
def test_counts_the_seeds_that_are_not_written(complete, seeds, count):
    assert missing(study(complete), seeds) == count


def test_all_seeds_are_missing_of_a_run_that_does_not_exist(complete):
    assert missing(study(complete, samplers={"other": FINAL}), range(7)) == 7


def test_seeds_with_a_slot_but_no_sample_are_missing(complete, tmp_path):
    loaded = study(complete, store=tmp_path / "store.zarr")
    spec, table = (run := open_store(complete / "store.zarr").runs()[0]).spec, run.step_table()
    with small_units():
        generate_study(study(complete, "50", samplers={"x": FINAL}, store=loaded.store_path))
        run = open_store(loaded.store_path, mode="r+").add_run(spec, table, range(20))
        write_units(run, 1, run.units()[1:2])  # the slots 8 to 15
    assert missing(loaded, range(20)) == 12
    assert missing(loaded, range(8, 16)) == 0


def test_another_way_to_write_the_same_sampler_is_no_difference(complete):
    sampler = {"scheduler": "DDIMScheduler", "steps": 3, "record": [3]}
    assert missing(study(complete, samplers={"final": sampler}), range(10)) == 0


def test_a_batch_size_and_a_model_of_more_parameters_are_no_identity(complete):
    spec = {"source": "net", "family": "unet", "parameters": 5, "width": 3}
    loaded = study(complete, models={"net": spec}, batch_size=64)
    assert missing(loaded, range(10)) == 0


@pytest.mark.parametrize(
    ("sampler", "dtype", "found"),
    [
        ({"steps": 4}, "float32", "sampler.steps is 3 in the store and 4 in what was asked for"),
        ({"eta": 1.0}, "float32", "sampler.eta is 0.0 in the store and 1.0 in what was asked for"),
        ({}, "bfloat16", "compute_dtype is 'float32' in the store and 'bfloat16' in what was"),
    ],
)
def test_another_identity_shows_both_values(complete, sampler, dtype, found):
    with pytest.raises(IdentityError) as caught:
        missing(study(complete, samplers={"final": FINAL | sampler}), range(10), dtype)
    assert str(caught.value).startswith(
        f"The run net/final/none in the store differs from the one asked for: {found}"
    )


def test_missing_weights_are_an_error_though_all_samples_are_written(complete):
    with pytest.raises(NotFoundError, match=r"is no folder: .* does not exist"):
        missing(study(complete, models={"net": {"source": "./gone"}}), range(10))


def test_options_are_compared_whatever_their_order():
    (request,) = requests_of(study(Path(), samplers={"final": FINAL}))
    options = {"clip_sample": True, "beta_end": 0.01}

    def written(pairs):
        spec = SamplerSpec(scheduler="ddim", steps=3, options=dict(pairs))
        return as_written(_replaced(request, spec), {}, "float32")

    assert written(options.items()) == written(reversed(options.items()))
    assert written(options.items()) != written({}.items())


def _replaced(request, sampler_spec):
    return type(request)(**{**vars(request), "sampler_spec": sampler_spec})


def test_a_complete_study_is_found_complete_without_heavy_libraries(complete):
    (complete / "study.toml").write_text(
        'store = "store.zarr"\nseeds = "0-9"\nbatch_size = 4\n[models.net]\nsource = "net"\n'
        '[samplers.final]\nscheduler = "ddim"\nsteps = 3\n',
        encoding="utf-8",
    )
    program = (
        "import sys\n"
        "from reprostore.studies import generate_study\n"
        "from reprostore.study import load_study\n"
        "loaded = load_study(sys.argv[1])\n"
        "assert generate_study(loaded)[0]['written'] == 0\n"
        "print(sorted({'torch', 'diffusers', 'faiss', 'matplotlib'} & set(sys.modules)))\n"
    )
    before = files(complete)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, complete / "study.toml"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stderr == ""
    assert result.stdout == "[]\n"
    assert files(complete) == before
