"""Stores that contradict each other: all is told, and nothing is written."""

import json

import pytest
from merging import (
    add_dataset,
    by_seed,
    laboratory,
    pixel,
    run_of,
    shifted,
    small_units,
    trained,
    withhold,
)
from stores import add, content

from reprostore.embed import embed_run
from reprostore.errors import ConflictError, SpecError
from reprostore.sharing.merge import merge_stores
from reprostore.sharing.merging.about import About
from reprostore.store import create_store, open_store
from reprostore.testing.store import step_table, write_units


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


def refused(folder, what, *args, **options):
    """Merge, and see that nothing is written; return the conflicts."""
    before = content(folder)
    with pytest.raises(ConflictError) as told:
        merge_stores(*args, **options)
    after = {k: v for k, v in content(folder).items() if ".lock/" not in k}
    assert after == {k: v for k, v in before.items() if ".lock/" not in k}
    conflicts = told.value.conflicts
    assert what in {one["what"] for one in conflicts}
    assert all(one["found"].endswith(".") and one["action"].endswith(".") for one in conflicts)
    return conflicts


def test_other_weights_of_one_run(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    b = laboratory(
        tmp_path / "b.zarr", [(run_of(weights="1" * 64), range(4)), (run_of("vit"), [1])]
    )
    (one,) = refused(tmp_path, "run", a.path, [b.path])
    assert "weights.weights.safetensors is '000" in one["found"]
    assert "'111" in one["found"]
    assert "--rename b:NAME=NEW" in one["action"]
    refused(tmp_path, "run", tmp_path / "c.zarr", [a.path, b.path])
    assert not (tmp_path / "c.zarr").exists()
    merge_stores(a.path, [b.path], rename={"unet": "unet-b"})
    assert len(open_store(a.path).run_paths()) == 3


def test_other_weights_of_one_model_under_another_sampler(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))])
    b = laboratory(tmp_path / "b.zarr", [(run_of(sampler="ddpm", weights="1" * 64), range(4))])
    (one,) = refused(tmp_path, "model", a.path, [b.path])
    assert "--rename b:unet=NEW" in one["action"]
    refused(tmp_path, "model", tmp_path / "c.zarr", [a.path, b.path])
    refused(tmp_path, "model", a.path, [b.path], dry_run=True)


@pytest.mark.parametrize("options", [{}, {"tolerance": 2.0**-11}])
def test_other_samples_of_equal_seeds(tmp_path, options):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(6))])
    b = create_store(tmp_path / "b.zarr")
    write_units(add(b, spec, range(3, 9)), b.start_session({}), states=shifted(2.0**-10, {3, 5}))
    (one,) = refused(tmp_path, "digest", a.path, [b.path], **options)
    assert one["name"] == spec.path
    assert one["found"].startswith("2 samples of the run")
    assert "(3,5)" in one["found"]
    assert "0.000977" in one["found"]


def test_other_noise_of_equal_seeds_is_refused_whatever_the_tolerance(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(6))])
    b = laboratory(tmp_path / "b.zarr", [(spec, range(6))])
    probes = b.run(spec.path).array("noise_probe")[...]
    allowed = max(1e-3, abs(float(probes[4, 2])) / 1024)
    probes[4, 2] += 1.5 * allowed
    run = open_store(b.path, mode="r+").run(spec.path)
    run.array("noise_probe")[...] = probes
    (one,) = refused(tmp_path, "noise", a.path, [b.path], tolerance=1.0)
    assert one["found"].endswith("at the seeds 4.")
    probes[4, 2] -= allowed
    run.array("noise_probe")[...] = probes
    merge_stores(a.path, [b.path])


def test_other_noise_levels_of_the_recorded_steps(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(2))])
    b = laboratory(tmp_path / "b.zarr", [(spec, range(2))])
    run = open_store(b.path, mode="r+").run(spec.path)
    run.array("sigma")[...] = step_table(spec).sigma * 1.001
    (one,) = refused(tmp_path, "run", a.path, [b.path])
    assert "sigma" in one["found"]


def test_all_conflicts_are_told_at_once(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(f"unet-{n}"), [0]) for n in range(3)])
    b = laboratory(
        tmp_path / "b.zarr", [(run_of(f"unet-{n}", weights="1" * 64), [0]) for n in range(3)]
    )
    conflicts = refused(tmp_path, "run", a.path, [b.path])
    assert [one["name"].partition("/")[0] for one in conflicts] == ["unet-0", "unet-1", "unet-2"]
    with pytest.raises(ConflictError, match=r"2 more conflicts were found\. Stores are merged"):
        merge_stores(a.path, [b.path])


def test_sources_that_contradict_each_other_and_not_the_target(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of("mine", weights="5" * 64), [0])])
    b = laboratory(tmp_path / "b.zarr", [(run_of(), [0, 1])])
    c = create_store(tmp_path / "c.zarr")
    write_units(add(c, run_of(), [1, 2]), c.start_session({}), states=shifted(0.25))
    (one,) = refused(tmp_path, "digest", a.path, [b.path, c.path])
    assert one["source"] == "c"


def test_a_session_that_was_edited(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    b = create_store(tmp_path / "b.zarr")
    merge_stores(b.path, [a.path])
    session = int(a.run(spec.path).recorded("session")[0])
    file = b.path / "sessions" / f"{session:016x}" / "zarr.json"
    text = json.loads(file.read_text())
    text["attributes"]["session"]["device"] = "cuda"
    file.write_text(json.dumps(text))
    write_units(add(open_store(b.path, mode="r+"), spec, range(6)), session)
    (one,) = refused(tmp_path, "session", a.path, [b.path])
    assert one["name"] == f"{session:016x}"


def test_other_items_of_one_dataset(tmp_path):
    a, b = (laboratory(tmp_path / f"{name}.zarr", []) for name in "ab")
    add_dataset(a, "digits", seed=0)
    add_dataset(b, "digits", seed=1)
    (one,) = refused(tmp_path, "dataset", a.path, [b.path])
    assert "--rename-dataset b:digits=NEW" in one["action"]


def test_a_dataset_that_only_one_store_holds_is_not_taken_for_another(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(2))])
    add_dataset(a, "digits", count=20)
    b = laboratory(tmp_path / "b.zarr", [(trained(run_of("vit"), "digits"), range(2))])
    (one,) = refused(tmp_path, "trained_on", a.path, [b.path])
    assert "--rename-dataset b:digits=digits" in one["action"]
    (one,) = refused(tmp_path, "trained_on", b.path, [a.path])
    assert "--rename-dataset a:digits=digits" in one["action"]
    merge_stores(tmp_path / "c.zarr", [a.path, b.path], rename_datasets={"b:digits": "other"})
    spec = open_store(tmp_path / "c.zarr").run("vit/sampler/none").spec
    assert spec.model_spec.trained_on.dataset == "other"
    merge_stores(a.path, [b.path], rename_datasets={"b:digits": "digits"})
    spec = open_store(a.path).run("vit/sampler/none").spec
    assert spec.model_spec.trained_on.dataset == "digits"


def test_one_run_that_was_trained_on_other_items_as_its_stores_say(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(trained(run_of(), "digits", "0-9"), range(2))])
    b = laboratory(tmp_path / "b.zarr", [(trained(run_of(), "digits", "0-8"), range(2, 4))])
    c = laboratory(tmp_path / "c.zarr", [(trained(run_of(), "digits", "5-9,0-4"), range(2, 4))])
    (one,) = refused(tmp_path, "trained_on", a.path, [b.path])
    assert "digits 0-9" in one["found"]
    assert "digits 0-8" in one["found"]
    merge_stores(a.path, [c.path])


def test_vectors_of_another_encoder_of_one_name(tmp_path):
    spec = run_of(steps=(5,), denoised=False)
    a = laboratory(tmp_path / "a.zarr", [(spec, range(2))])
    b = laboratory(tmp_path / "b.zarr", [(run_of("vit", steps=(5,), denoised=False), range(2))])
    for store, weights in ((a, {}), (b, {"weights": "another"})):
        embed_run(store, pixel(**weights), store.runs()[0])
    (one,) = refused(tmp_path, "encoder", a.path, [b.path])
    assert "--rename-encoder b:pixel=NEW" in one["action"]
    refused(tmp_path, "encoder", tmp_path / "c.zarr", [a.path, b.path])
    merge_stores(a.path, [b.path], rename_encoders={"pixel": "pixel-b"})
    assert open_store(a.path).files.folders("embeddings") == ["pixel", "pixel-b"]


def test_samples_that_some_seeds_would_have_and_others_not(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    b = laboratory(tmp_path / "b.zarr", [(spec, range(2, 6))])
    withhold(b.path, spec.path)
    (one,) = refused(tmp_path, "samples", a.path, [b.path])
    assert "seeds 4-5" in one["found"]
    (one,) = refused(tmp_path, "samples", b.path, [a.path])
    assert "seeds 4-5" in one["found"]
    refused(tmp_path, "samples", tmp_path / "c.zarr", [b.path, a.path])


def test_withheld_samples_cannot_be_compared_within_a_tolerance(tmp_path):
    spec = run_of()
    a = laboratory(tmp_path / "a.zarr", [(spec, range(4))])
    b = create_store(tmp_path / "b.zarr")
    write_units(add(b, spec, range(4)), b.start_session({}), states=shifted(2.0**-20))
    withhold(b.path, spec.path)
    (one,) = refused(tmp_path, "digest", a.path, [b.path], tolerance=1.0)
    assert "not there to be compared" in one["found"]


def test_licences_that_differ_need_a_decision(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), [0])], license="CC0-1.0", creators=["Ada"],
                   title="A")  # fmt: skip
    b = laboratory(tmp_path / "b.zarr", [(run_of(), [1])], license="CC-BY-4.0",
                   creators=["Bo", "Ada"])  # fmt: skip
    (one,) = refused(tmp_path, "license", tmp_path / "c.zarr", [a.path, b.path])
    assert "CC0-1.0 (a), CC-BY-4.0 (b)" in one["found"]
    refused(tmp_path, "license", a.path, [b.path])
    merge_stores(tmp_path / "c.zarr", [a.path, b.path], about=About(license="CC-BY-4.0"))
    about = open_store(tmp_path / "c.zarr").attributes
    assert (about["title"], about["license"]) == ("A", "CC-BY-4.0")
    assert about["creators"] == ["Ada", "Bo"]
    merge_stores(tmp_path / "c.zarr", [a.path, b.path], about=About(license="CC-BY-4.0"))
    with pytest.raises(SpecError, match="written once"):
        merge_stores(tmp_path / "c.zarr", [a.path], about=About(license="CC0-1.0"))
    with pytest.raises(SpecError, match=r"creators Eve are asked for, and those of .* are Ada\."):
        merge_stores(a.path, [b.path], about=About(license="CC0-1.0", creators=("Ada", "Eve")))
    rows = merge_stores(a.path, [b.path], about=About(license="CC0-1.0"))
    assert any("creators Bo are kept" in row.get("text", "") for row in rows)
    records = [open_store(a.path).session(int(name, 16))
               for name in open_store(a.path).files.folders("sessions")]  # fmt: skip
    kept = [record["merged"]["store"] for record in records if "merged" in record]
    assert kept == [{"title": None, "license": "CC-BY-4.0", "creators": ["Bo", "Ada"],
                     "created": b.attributes["created"]}]  # fmt: skip


def test_a_new_store_of_one_source_keeps_what_it_says_of_itself(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), [0])], license="CC0-1.0", title="A")
    merge_stores(tmp_path / "c.zarr", [a.path])
    about = open_store(tmp_path / "c.zarr").attributes
    assert (about["title"], about["license"], about["creators"]) == ("A", "CC0-1.0", [])
    assert by_seed(tmp_path / "c.zarr", run_of().path) == by_seed(a.path, run_of().path)
