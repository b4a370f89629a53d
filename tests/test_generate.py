"""What is generated: against diffusers' own pipelines, and only what is missing."""

import diffusers
import numpy as np
import pytest
import torch
from generating import (
    FINAL,
    PATH,
    altered_outputs,
    arrays,
    assert_same_arrays,
    counted_batches,
    files,
    leftovers,
    sample_bits,
    small_units,
    study,
)

from reprostore.errors import ModelError, SpecError
from reprostore.layout import PROBE_LENGTH
from reprostore.models.checkpoint import quiet_diffusers
from reprostore.planning import plan_study
from reprostore.settings import Settings
from reprostore.studies import generate_study
from reprostore.testing.models import DDPM_CONFIG, tiny_checkpoint


@pytest.fixture(autouse=True)
def _small_units():
    with small_units():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a folder with two checkpoints; studies write their stores elsewhere."""
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "net", channels=3)
    tiny_checkpoint(folder / "other", channels=3, seed=1)
    return folder


@pytest.fixture
def make(base, tmp_path):
    def make(*args, **values):
        return study(base, *args, **({"store": tmp_path / "store.zarr"} | values))

    return make


def pipeline_images(folder, solver, steps, seeds, **options):
    """Return what diffusers' pipeline gives for a list of generators, in [0, 1], channels last."""
    network = diffusers.UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False)
    scheduler = diffusers.DDPMScheduler.from_pretrained(folder)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    with quiet_diffusers():
        pipeline = getattr(diffusers, f"{solver}Pipeline")(network, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            len(seeds), generators, num_inference_steps=steps, output_type="np", **options
        ).images


# the random network's samples are large without clipping, so there the noise is weak
@pytest.mark.parametrize(
    "schedule",
    [{"clip_sample": False, "beta_end": 0.001}, {"clip_sample": True}],
    ids=["free", "clipped"],
)
@pytest.mark.parametrize(
    ("solver", "sampler", "options"),
    [
        ("DDIM", {"scheduler": "ddim", "steps": 5}, {}),
        ("DDIM", {"scheduler": "DDIMScheduler", "steps": 5, "eta": 0.7}, {"eta": 0.7}),
        ("DDPM", {"scheduler": "ddpm", "steps": 5}, {}),
    ],
    ids=["ddim", "ddim-eta", "ddpm"],
)
def test_samples_equal_those_of_the_pipeline(tmp_path, solver, sampler, options, schedule):
    folder = tmp_path / "net"
    tiny_checkpoint(folder, channels=3, scheduler={**DDPM_CONFIG, **schedule})
    seeds = [5, 0, 2**32 - 1, 77, 6, 1000, 8, 9, 3, 12]  # the last batch is padded
    loaded = study(tmp_path, ",".join(map(str, seeds)), {"s": sampler})
    generate_study(loaded)
    stored = arrays(loaded)["net/s/none/sample"][:, -1]
    assert stored.shape == (10, 3, 8, 8)
    images = [
        pipeline_images(folder, solver, 5, [*seeds[i : i + 4], 1, 2][:4], **options)
        for i in (0, 4, 8)
    ]
    expected = np.concatenate(images)[:10].transpose(0, 3, 1, 2)
    found = np.clip(stored / 2 + 0.5, 0, 1)
    assert np.abs(found - expected).max() <= 1e-5
    inside = (expected > 0) & (expected < 1)
    assert inside.mean() > 0.2  # else the clamp would hide what differs
    assert expected.std() > 0.1
    noise = torch.randn((3, 8, 8), generator=torch.Generator("cpu").manual_seed(77))
    probe = arrays(loaded)["net/s/none/noise_probe"][3]
    np.testing.assert_array_equal(probe, noise.flatten()[:PROBE_LENGTH].numpy())


def test_first_row_is_the_noise_and_last_denoised_the_sample(make):
    loaded = make("3,1", {"path": PATH})
    generate_study(loaded)
    found = arrays(loaded)
    noise = torch.randn((3, 8, 8), generator=torch.Generator("cpu").manual_seed(3)).numpy()
    sample, denoised = found["net/path/none/sample"], found["net/path/none/denoised"]
    np.testing.assert_array_equal(sample[0, 0], noise)
    np.testing.assert_array_equal(sample[:, -1], denoised[:, -1])
    assert found["net/path/none/sigma"][-1] == 0
    assert found["net/path/none/seed"].tolist() == [3, 1]


def test_a_second_call_loads_no_model(make, monkeypatch):
    loaded = make("0-9", {"final": FINAL, "path": PATH})
    assert [row["written"] for row in generate_study(loaded)] == [10, 10]
    before = files(loaded.store_path.parent)
    altered_outputs(monkeypatch, lambda output, call: pytest.fail("a model was called"))
    monkeypatch.setattr("reprostore.generate.load_model", lambda *args: pytest.fail("loaded"))
    assert [row["written"] for row in generate_study(loaded)] == [0, 0]
    subset = make("3,9,0", {"path": PATH})
    assert generate_study(subset) == [{"run": "net/path/none", "seeds": 3, "written": 0}]
    assert files(loaded.store_path.parent) == before
    more = make("0-10", {"path": PATH})
    with pytest.raises(BaseException, match="loaded"):  # so that the patch is known to bite
        generate_study(more)


def test_more_models_and_samplers_touch_nothing_that_exists(make):
    generate_study(make("0-9", {"final": FINAL}))
    loaded = make("0-9", {"final": FINAL, "path": PATH}, models=("net", "other"))
    before = files(loaded.store_path)
    written = {row["run"]: row["written"] for row in generate_study(loaded)}
    assert written == {
        "net/final/none": 0,
        "net/path/none": 10,
        "other/final/none": 10,
        "other/path/none": 10,
    }
    after = files(loaded.store_path)
    assert {path: after[path] for path in before} == before


# the second list begins with other seeds, and holds the old ones in another order
@pytest.mark.parametrize("more", ["0-40", "30-40,9,0-8,10-29"], ids=["in order", "mixed"])
def test_growing_touches_the_last_unit_alone_and_gives_the_bits_of_one_run(make, tmp_path, more):
    samplers = {"final": FINAL, "path": PATH}
    generate_study(make("0-19", samplers))
    loaded = make(more, samplers)
    before, old = files(loaded.store_path), arrays(loaded, but=())
    written = [row["written"] for row in generate_study(loaded)]
    assert written == [21, 21]
    after, new = files(loaded.store_path), arrays(loaded, but=())
    # units of 8: slots 16 to 19 were the last, half-filled one; `path` has 4 seeds a shard
    changed = {path for path in before if after[path] != before[path]}
    last = {
        f"runs/net/{sampler}/none/{name}"
        for sampler in samplers
        for name in ("digest/c/2", "session/c/2", "status/c/2", "noise_probe/c/2/0", "seed/c/0")
    } | {"runs/net/final/none/sample/c/2/0/0/0/0"}
    metadata = {
        f"runs/net/{sampler}/none/{name}/zarr.json"
        for sampler in samplers
        for name in ("sample", "denoised", "digest", "session", "status", "noise_probe", "seed")
    } - {"runs/net/final/none/denoised/zarr.json"}
    assert changed == last | metadata
    for name, values in old.items():
        if values.ndim and values.shape[0] == 20:
            assert new[name][:20].tobytes() == values.tobytes(), name
    order = new["net/final/none/seed"].tolist()
    assert order[:20] == list(range(20))
    whole = make(",".join(map(str, order)), samplers, store=tmp_path / "whole.zarr")
    generate_study(whole)
    assert_same_arrays(arrays(loaded), arrays(whole))


def test_only_the_units_with_seeds_that_were_asked_for_are_generated(make, monkeypatch):
    with monkeypatch.context() as patch:
        altered_outputs(patch, lambda output, call: output.fill_(torch.nan))
        with pytest.raises(ModelError):
            generate_study(make("0-30"))  # all 31 seeds have their slots now, and none is written
    batches = counted_batches(monkeypatch)
    reports = []
    loaded = make("21,10")
    generate_study(loaded, progress=lambda *report: reports.append(report))
    assert batches == [[8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]
    assert np.flatnonzero(arrays(loaded)["net/final/none/status"]).tolist() == [*range(8, 24)]
    assert reports == [("net/final/none", 1, 2), ("net/final/none", 2, 2)]


@pytest.mark.parametrize(
    "sampler", ["ddpm", "EulerAncestralDiscreteScheduler"], ids=["ddpm", "euler-ancestral"]
)
def test_stochastic_samples_do_not_depend_on_their_company(make, tmp_path, sampler):
    samplers = {"s": {"scheduler": sampler, "steps": 4, "record": [0, 2], "denoised": True}}
    one = make("0-9", samplers)
    two = make("8,100,0,101,102,103,5,3,9", samplers, store=tmp_path / "two.zarr")
    generate_study(one)
    generate_study(two)
    for name in ("sample", "denoised"):
        first, second = (sample_bits(loaded, "net/s/none", name) for loaded in (one, two))
        common = first.keys() & second.keys()
        assert common == {8, 0, 5, 3, 9}
        assert all(first[seed] == second[seed] for seed in common)
        assert len(set(second.values())) == 9


def test_other_dtypes_are_conversions_of_the_float32_run(make):
    samplers = {
        "full": {**PATH, "scheduler": "ddim"},
        "half": {**PATH, "scheduler": "ddim", "dtype": "float16"},
        "image": {**FINAL, "dtype": "uint8"},
    }
    loaded = make("0-9", samplers)
    generate_study(loaded)
    found = arrays(loaded)
    for name in ("sample", "denoised"):
        full = found[f"net/full/none/{name}"]
        assert full.dtype == np.float32
        half = found[f"net/half/none/{name}"]
        np.testing.assert_array_equal(half, full.astype(np.float16), strict=True)
    # as diffusers' `numpy_to_pil` rounds
    last = found["net/full/none/sample"][:, -1]
    image = ((last / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
    found_image = found["net/image/none/sample"][:, 0]
    assert found_image.dtype == np.uint8
    assert np.abs(found_image.astype(int) - image).max() <= 1
    assert (found_image != image).mean() < 0.001  # rounding of halves apart
    assert len(np.unique(image)) > 50


def test_progress_rises_to_the_total_and_written_is_right(make):
    samplers = {"final": FINAL, "path": PATH}
    generate_study(make("0-5", {"final": FINAL}))
    reports = []
    rows = generate_study(make("0-40", samplers), progress=lambda *r: reports.append(r))
    assert [row["written"] for row in rows] == [35, 41]
    assert [row["seeds"] for row in rows] == [41, 41]
    for path, first in [("net/final/none", 8), ("net/path/none", 4)]:
        done = [report[1] for report in reports if report[0] == path]
        assert {report[2] for report in reports if report[0] == path} == {41}
        assert done == [*range(first, 41, 4), 41]


def test_the_plan_is_what_is_found_on_disk(make):
    samplers = {
        "final": FINAL,
        "path": PATH,
        "image": {**FINAL, "dtype": "uint8"},
        "half": {**PATH, "dtype": "float16", "denoised": False},
    }
    loaded = make("0-20", samplers)
    assert not loaded.store_path.exists()
    plan = plan_study(loaded)
    assert list(loaded.store_path.parent.iterdir()) == []
    generate_study(make("0-12", {"path": PATH}))
    before = files(loaded.store_path.parent)
    again = plan_study(loaded)
    assert files(loaded.store_path.parent) == before
    assert [row["missing"] for row in plan] == [21, 21, 21, 21]
    assert [row["missing"] for row in again] == [21, 8, 21, 21]
    generate_study(loaded)
    found = arrays(loaded)
    for row, other in zip(plan, again, strict=True):
        assert row | {"missing": other["missing"]} == other
        folder = loaded.store_path / "runs" / row["run"]
        assert row["files"] == len(files(folder))
        states = [
            found[f"{row['run']}/{n}"] for n in ("sample", "denoised") if (folder / n).exists()
        ]
        assert row["bytes"] == sum(state.nbytes for state in states)
        assert row["units"] == len(list((folder / "status" / "c").iterdir()))
    assert [row["missing"] for row in plan_study(loaded)] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("device", "found"),
    [("tpu", "The device 'tpu' is not known."), ("cuda:1", "torch finds no CUDA device")],
)
def test_unusable_devices(make, monkeypatch, device, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    loaded = make()
    with pytest.raises(SpecError, match=found):
        generate_study(loaded, device=device)
    assert not loaded.store_path.exists()
    assert Settings().resolved_device() == "cpu"


def test_no_unfinished_files_are_left(make):
    loaded = make("0-9", {"final": FINAL, "path": PATH})
    generate_study(loaded)
    assert leftovers(loaded) == []
