"""`repro merge` as it is typed."""

import pytest
from commands import Repro
from merging import by_seed, laboratory, pack, run_of, small_units
from stores import content

from reprostore.store import open_store


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch)


@pytest.fixture
def repro(capsys):
    return Repro(capsys)


@pytest.fixture
def stores(tmp_path):
    a = laboratory(tmp_path / "a.zarr", [(run_of(), range(4))], license="CC0-1.0")
    b = laboratory(tmp_path / "b.zarr", [(run_of(), range(2, 7))], license="CC-BY-4.0")
    return a.path, b.path


def test_a_union_in_a_new_store(repro, stores, tmp_path):
    before = [content(path) for path in stores]
    done = repro("merge", *stores, "--into", tmp_path / "c.zarr", "--license", "CC-BY-4.0",
                 "--creator", "Ada", "--title", "Both", "--json")  # fmt: skip
    assert done.code == 0
    assert done.document["command"] == "merge"
    assert done.document["inputs"]["sources"] == [str(path) for path in stores]
    runs = [row for row in done.rows if row["kind"] == "run"]
    assert [(row["source"], row["copied"], row["equal"]) for row in runs] == [
        ("a", 4, 0),
        ("b", 3, 2),
    ]
    about = open_store(tmp_path / "c.zarr").attributes
    assert (about["title"], about["license"], about["creators"]) == ("Both", "CC-BY-4.0", ["Ada"])
    assert [content(path) for path in stores] == before


def test_adding_to_the_first(repro, stores):
    a, b = stores
    archive = pack(b)
    dry = repro("merge", a, archive, "--license", "CC0-1.0", "--dry-run")
    assert dry.code == 0
    assert "would be merged into" in dry.out
    assert len(open_store(a).run(run_of().path).seeds) == 4
    done = repro("merge", a, archive, "--license", "CC0-1.0")
    assert done.code == 0
    assert f"{run_of().path} b " in " ".join(done.out.split())
    assert sorted(by_seed(a, run_of().path)) == list(range(7))


def test_conflicts_are_shown_and_nothing_is_written(repro, stores):
    a, b = stores
    before = content(a)
    told = repro("merge", a, b)
    assert told.code == 2
    assert "Conflicts" in told.out
    assert "CC0-1.0" in told.out
    assert told.err.startswith("Error: The licences differ")
    assert "nothing was written" in told.err
    as_json = repro("merge", a, b, "--json")
    assert as_json.code == 2
    assert [row["what"] for row in as_json.rows] == ["license"]
    assert content(a) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "No store was named"),
        (["b.zarr", "--rename", "unet"], "Write --rename OLD=NEW"),
        (["b.zarr", "--rename", "u=v", "--rename", "u=w"], "one new name for each old one"),
        (["nothing.zarr"], "There is no store"),
        (["b.zarr", "--run", "x/y/z"], "has a run x/y/z"),
        (["b.zarr", "--license", "MIT"], "written once"),
        (["b.zarr", "--tolerance", "inf"], "The tolerance is inf"),
    ],
)
def test_mistakes(repro, stores, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    before = content(tmp_path)
    told = repro("merge", "a.zarr", *arguments)
    assert told.code == 2
    assert words in told.err
    assert told.err.count("\n") == 1
    assert content(tmp_path) == before


def test_new_names(repro, stores):
    a, b = stores
    done = repro("merge", a, b, "--rename", "b:unet=unet-b", "--license", "CC0-1.0", "--json")
    assert done.code == 0
    assert open_store(a).run_paths() == ["unet-b/sampler/none", "unet/sampler/none"]
