"""Study files: what they mean, and that every mistake becomes one paragraph with its line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from reprostore.errors import NotFoundError, ReprostoreError, SpecError
from reprostore.specs import ConditionSpec, DatasetSpec, EncoderSpec, ModelSpec, SamplerSpec, Subset
from reprostore.study import LoadedStudy, Study, derived_study, load_study

EXAMPLE = """\
store = "digits.zarr"
seeds = "0-999"
batch_size = 64
creators = ["A. Author"]

[datasets.digits]
source = "sklearn:digits"
held_out = "898-1796"

[models.unet-a]
source = "checkpoints/unet-a"
trained_on = { dataset = "digits", index = "0-63" }

[models.unet-b]
source = "checkpoints/unet-b"
samplers = ["ddim50"]

[samplers.ddim50]
scheduler = "DDIMScheduler"
steps = 50

[samplers.edm]
scheduler = "edm-heun"
steps = 18
record = [0, 9]
options = { rho = 7, sigma_max = 80.0, use_karras = true }

[encoders.pixel]
kind = "pixel"

[analyses.reproducibility]
encoder = "pixel"
thresholds = [0.5, 0.6]
"""


@pytest.fixture
def load(tmp_path):
    def load(text):
        path = tmp_path / "study.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_study(path)

    return load


@pytest.fixture
def message(load):
    def message(text):
        with pytest.raises(SpecError) as caught:
            load(text)
        return str(caught.value)

    return message


def changed(old, new):
    assert EXAMPLE.count(old) == 1
    return EXAMPLE.replace(old, new)


def test_a_study_means_what_it_says(load):
    study = load(EXAMPLE).study
    assert study == Study(
        store="digits.zarr",
        seeds="0-999",
        batch_size=64,
        creators=("A. Author",),
        datasets={"digits": DatasetSpec(source="sklearn:digits", held_out="898-1796")},
        models={
            "unet-a": ModelSpec(
                source="checkpoints/unet-a", trained_on=Subset(dataset="digits", index="0-63")
            ),
            "unet-b": ModelSpec(source="checkpoints/unet-b", samplers=("ddim50",)),
        },
        samplers={
            "ddim50": SamplerSpec(scheduler="DDIMScheduler", steps=50),
            "edm": SamplerSpec(
                scheduler="edm-heun",
                steps=18,
                record=(0, 9),
                options={"rho": 7, "sigma_max": 80.0, "use_karras": True},
            ),
        },
        encoders={"pixel": EncoderSpec(kind="pixel")},
        analyses={"reproducibility": {"encoder": "pixel", "thresholds": [0.5, 0.6]}},
    )
    assert (study.dtype, study.title, study.conditions) == ("float32", None, {})
    options = study.samplers["edm"].options
    assert [type(options[key]) for key in ("rho", "sigma_max", "use_karras")] == [int, float, bool]


def test_runs_are_the_product_but_for_models_that_list_their_own(load):
    assert load(EXAMPLE).study.runs() == [
        ("unet-a", "ddim50", "none"),
        ("unet-a", "edm", "none"),
        ("unet-b", "ddim50", "none"),
    ]


def test_runs_with_conditions_of_their_own():
    model, sampler = ModelSpec(source="x"), SamplerSpec(scheduler="ddim", steps=1)
    study = Study(
        store="s",
        models={
            "all": model,
            "some": model.model_copy(update={"conditions": ("b", "b")}),
            "never": model.model_copy(update={"samplers": ()}),
        },
        samplers={"s": sampler},
        conditions={"a": ConditionSpec(), "b": ConditionSpec()},
    )
    assert study.runs() == [("all", "s", "a"), ("all", "s", "b"), ("some", "s", "b")]


def test_paths_are_relative_to_the_study_file(load, tmp_path, monkeypatch):
    loaded = load(EXAMPLE)
    assert loaded.store_path == tmp_path.resolve() / "digits.zarr"
    monkeypatch.chdir(tmp_path)
    assert load_study("study.toml").base == tmp_path
    absolute = load('store = "/data/../x.zarr"')
    assert absolute.store_path == Path("/x.zarr")


def test_byte_order_mark_of_windows_editors(load):
    assert load(b"\xef\xbb\xbf" + EXAMPLE.encode()).study.seeds == "0-999"


def test_lines_of_keys(load):
    loaded = load(EXAMPLE)
    assert loaded.line_of(("models", "unet-a", "source")) == 11
    assert loaded.line_of(("models", "unet-a", "trained_on", "index")) == 12
    assert loaded.line_of(("analyses", "reproducibility")) == 31
    assert loaded.line_of(("models", "unet-c")) is None
    assert loaded.where(("models", "unet-a", "family")) == "study.toml, line 10"
    assert loaded.where(("conditions", "x")) == "study.toml"


def test_misspelt_key_is_told_with_line_and_nearest(message):
    assert message(changed('scheduler = "DDIM', 'schedular = "DDIM')) == (
        "study.toml, line 19: unknown key `schedular` in [samplers.ddim50]. Known keys are "
        "`denoised`, `dtype`, `eta`, `options`, `record`, `scheduler`, `steps`. "
        "Did you mean `scheduler`?"
    )


def test_key_of_an_analysis_is_told_in_the_same_way(load):
    location = ("analyses", "reproducibility")
    error = load(EXAMPLE).key_error(location, "encodr", ["threshold", "encoder"])
    assert str(load(changed("thresholds", "encodr")).key_error(location, "encodr", ["x"])) == (
        "study.toml, line 33: unknown key `encodr` in [analyses.reproducibility]. Known keys are "
        "`x`. Remove it, or correct its spelling."
    )
    assert isinstance(error, SpecError)
    assert str(error) == (
        "study.toml, line 31: unknown key `encodr` in [analyses.reproducibility]. Known keys are "
        "`encoder`, `threshold`. Did you mean `encoder`?"
    )


WRONG = {
    "unknown table": (
        changed("[samplers.edm]", "[sampler.edm]"),
        ["line 22: unknown key `sampler`. Known keys", "`title`. Did you mean `samplers`?"],
    ),
    "unknown key of an inline table": (
        changed("index =", "indx ="),
        ["line 12: unknown key `indx` in [models.unet-a.trained_on]", "mean `index`?"],
    ),
    "unknown key like no other": (
        changed("steps = 50", "steps = 50\nxyz = 1"),
        ["line 21: unknown key `xyz`", "Remove it, or correct its spelling."],
    ),
    "key of the top below a table": (
        changed("steps = 50", "steps = 50\ndtype = 'float16'\nseeds = '5'"),
        ["line 22: unknown key `seeds` in [samplers.ddim50]", "top of the file, above the first"],
    ),
    "missing key": (
        changed("steps = 50\n", ""),
        ["line 18: [samplers.ddim50] has no `steps`. `steps` has no default. Add `steps`."],
    ),
    "missing store": (
        changed('store = "digits.zarr"\n', ""),
        ["study.toml: there is no `store`. `store` has no default."],
    ),
    "text for a number": (
        changed("steps = 50", 'steps = "50"'),
        ['line 20: `steps` in [samplers.ddim50] is "50". It should be an integer.'],
    ),
    "truth for a number": (
        changed("batch_size = 64", "batch_size = true"),
        ["line 3: `batch_size` is true. It should be an integer."],
    ),
    "number out of range": (
        changed("steps = 50", "steps = 0"),
        ["line 20: `steps` in [samplers.ddim50] is 0. It should be greater than 0."],
    ),
    "number for a list": (
        changed("record = [0, 9]", "record = 9"),
        ["line 25: `record` in [samplers.edm] is 9. It should be 'final' or 'all', or a list."],
    ),
    "wrong item of a list": (
        changed("record = [0, 9]", "record = [0, -9]"),
        ["line 25: `record` in [samplers.edm] is [0, -9].", "item 2 should be greater than or"],
    ),
    "list for an option": (
        changed("rho = 7", "rho = [7]"),
        ["line 26: `rho` in [samplers.edm.options] is [7]. It should be true or false, or an int"],
    ),
    "state after the last step": (
        changed("record = [0, 9]", "record = [0, 19]"),
        ["line 22: [samplers.edm]: `record` names the state after step 19, and `steps` is 18."],
    ),
    "table for a text": (
        changed('store = "digits.zarr"', "store = { path = 'x' }"),
        ["line 1: `store` is a table. It should be a string."],
    ),
    "text for a table": (
        "store = 's'\nmodels = 'x'",
        ['line 2: `models` is "x". It should be a t'],
    ),
    "tables without names": (
        changed("[samplers.edm]", "[samplers]").replace("options =", "#").replace("record =", "#"),
        ["line 23: `scheduler` in [samplers] is", "Write [samplers.NAME] above", "1 more problem."],
    ),
    "analysis without a table": (
        changed("[analyses.reproducibility]", "[analyses]").replace("thresholds", "#"),
        ['`encoder` in [analyses] is "pixel".', "Write [analyses.NAME] above the keys."],
    ),
    "bad name": (
        changed("[samplers.edm]", '[samplers."e dm"]'),
        ["line 22: `e dm` in [samplers]: 'e dm' is no valid name. Names are letters"],
    ),
    "bad seeds": (
        changed('"0-999"', '"0-4-5"'),
        ["line 2: `seeds`: '0-4-5' in the seeds '0-4-5' is no number or range."],
    ),
    "negative seed": (changed('"0-999"', '"-3"'), ["line 2: `seeds`: '-3' in the seeds"]),
    "seed too large": (
        changed('"0-999"', '"4294967296"'),
        ["line 2: `seeds`: 4294967296 in", "is too large. Expected are whole numbers from 0 to 42"],
    ),
    "bad index": (
        changed('"0-63"', '"63-0"'),
        ["line 12: `index` in [models.unet-a.trained_on]: The range '63-0'", 'Write "0-63".'],
    ),
    "store elsewhere": (
        changed("digits.zarr", "s3://bucket/digits.zarr"),
        ["line 1: `store`: 's3://bucket/digits.zarr' is no path on this machine."],
    ),
    "unknown dataset": (
        changed('dataset = "digits"', 'dataset = "digit"'),
        [
            'line 12: `dataset` in [models.unet-a.trained_on] names "digit", which is not defined.',
            "[datasets] defines `digits`. Did you mean `digits`?",
        ],
    ),
    "unknown sampler of a model": (
        changed('["ddim50"]', '["ddim50", "ddmi50"]'),
        ['line 16: `samplers` in [models.unet-b] names "ddmi50"', "Did you mean `ddim50`?"],
    ),
    "unknown condition of a model": (
        changed('samplers = ["ddim50"]', 'conditions = ["cat"]'),
        ['`conditions` in [models.unet-b] names "cat"', "defines `none`. Add [conditions.cat]."],
    ),
    "unknown encoder": (
        changed('encoder = "pixel"', 'encoder = "sscd"'),
        ['names "sscd", which is not defined. [encoders] defines `pixel`. Add [encoders.sscd].'],
    ),
    "held out of nothing": (
        changed('samplers = ["ddim50"]', 'held_out = "0"'),
        ["line 14: [models.unet-b]: `held_out` stands without `trained_on`."],
    ),
    "date": (
        changed('store = "digits.zarr"', "store = 2024-01-01"),
        ['line 1: `store` is "2024-01-01".', "not dates. Correct the value."],
    ),
    "infinite number": (changed("rho = 7", "rho = inf"), ["line 26: `rho`", "Numbers are finite."]),
    "no 64-bit number": (
        changed("rho = 7", "rho = 9223372036854775808"),
        ["line 26: `rho` in [samplers.edm.options] is 9223372036854775808. Whole numbers have 64"],
    ),
    "number that cannot be printed": (
        changed("rho = 7", "rho = 0x" + "f" * 9000),
        ["line 26: `rho` in [samplers.edm.options] is too large to print."],
    ),
    "nested too deeply": (
        changed("thresholds = [0.5, 0.6]", "thresholds = " + "[" * 20 + "]" * 20),
        ["line 33: `thresholds` in [analyses.reproducibility] is [[[", "at most 16 deep."],
    ),
    "no TOML": (
        changed("steps = 50", "steps = "),
        ["study.toml, line 20, column 9: Invalid value. A study file is written in TOML."],
    ),
    "no TOML at the end": (EXAMPLE + 'x = "', ["study.toml, at its end: Unterminated string."]),
    "brackets without end": ("a = " + "[" * 9000, ["study.toml: lists are nested too deeply."]),
    "too many digits": ("a = " + "9" * 9000, ["study.toml: Exceeds the limit (4300 digits)"]),
    "latin-1": (
        EXAMPLE.replace("A. Author", "É. Auteur").encode("latin-1"),
        ["study.toml, line 4: a character is not UTF-8.", "Save the file as UTF-8."],
    ),
}


@pytest.mark.parametrize(("text", "parts"), WRONG.values(), ids=WRONG)
def test_mistakes(message, text, parts):
    found = message(text)
    for part in parts:
        assert part in found
    assert "\n" not in found


def test_all_problems_are_counted_and_misspelt_keys_come_first(message):
    text = changed("rho =", "rh =").replace("options", "option")
    text = text.replace("steps = 50", "steps = 0").replace("batch_size = 64", "batch_size = 0")
    assert message(text).startswith("study.toml, line 26: unknown key `option` in [samplers.edm].")
    assert message(text).endswith("Did you mean `options`? There are 2 more problems.")


def test_the_first_problem_is_the_first_in_the_file(message):
    samplers = "[samplers.a]\nscheduler = 'ddim'\nsteps = 0\n"
    datasets = "[datasets.a]\nsource = ''\n"
    assert message(f"store = 's'\n{samplers}{datasets}").startswith("study.toml, line 4: `steps`")
    assert message(f"store = 's'\n{datasets}{samplers}").startswith("study.toml, line 3: `source`")


def test_misspelt_key_is_not_missing_as_well(message):
    assert "more problem" not in message(changed("steps = 50", "step = 50"))


def test_file_that_does_not_exist(tmp_path):
    with pytest.raises(NotFoundError, match=r"There is no file .*none\.toml"):
        load_study(tmp_path / "none.toml")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_study(tmp_path)


def test_studies_load_without_heavy_libraries(tmp_path):
    (tmp_path / "study.toml").write_text(EXAMPLE)
    code = "import sys; from reprostore.study import load_study; load_study(sys.argv[1]); "
    code += "print({'torch', 'diffusers', 'faiss', 'sklearn', 'matplotlib'} & set(sys.modules))"
    command = [sys.executable, "-c", code, str(tmp_path / "study.toml")]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_references_are_checked_without_a_file_too():
    study = Study(store="s", analyses={"a": {"encoder": "x"}})
    with pytest.raises(SpecError, match=r"^`encoder` in \[analyses\.a\] names"):
        LoadedStudy(study, None, Path("/"))


def test_derived_names(tmp_path):
    loaded = derived_study(
        store="out/s.zarr",
        models=[
            "runs/unet-a/",
            "google/ddpm-cat",
            "oracle",
            "python:mine:make",
            "a b (2)",
            "runs/.old",
            ".",
        ],
        samplers=["ddim:50", "edm-heun:018"],
        seeds="0-9",
        base=tmp_path,
    )
    assert {name: model.source for name, model in loaded.study.models.items()} == {
        "unet-a": "runs/unet-a/",
        "ddpm-cat": "google/ddpm-cat",
        "oracle": "oracle",
        "python-mine-make": "python:mine:make",
        "a-b-2": "a b (2)",
        "old": "runs/.old",
        tmp_path.name: ".",
    }
    assert loaded.study.samplers == {
        "ddim-50": SamplerSpec(scheduler="ddim", steps=50),
        "edm-heun-18": SamplerSpec(scheduler="edm-heun", steps=18),
    }
    assert loaded.study.runs()[0] == ("unet-a", "ddim-50", "none")
    assert (loaded.path, loaded.base) == (None, tmp_path)
    assert loaded.store_path == tmp_path.resolve() / "out" / "s.zarr"
    assert loaded.study.batch_size == Study.model_fields["batch_size"].default


def test_derived_study_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert derived_study(store="s", models=[], samplers=[]).base == tmp_path


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"samplers": ["ddim"]}, ["'ddim' is no sampler.", 'Write it as "ddim:50".']),
        ({"samplers": ["ddim:0"]}, ["'ddim:0' is no sampler.", "at least 1"]),
        ({"samplers": ["ddim:5.5"]}, ["'ddim:5.5' is no sampler."]),
        ({"samplers": [":50"]}, ["':50' is no sampler."]),
        ({"models": ["a/u", "b/u"]}, ["'a/u' and 'b/u' would both be named `u`.", "study file"]),
        ({"models": ["--"]}, ["The model '--' gives no valid name."]),
        ({"models": ["/"]}, ["The model '/' gives no valid name."]),
        ({"models": [""]}, ['`source` in [models.', 'is "". It should have at least 1 character.']),
        ({"models": ["\udcff/a"]}, ["The study cannot be read."]),
        ({"seeds": "0-x"}, ["`seeds`: '0-x' in the seeds '0-x' is no number"]),
        ({"batch_size": 0}, ["`batch_size` is 0. It should be greater than 0."]),
        ({"dtype": "f16"}, ["`dtype` is \"f16\". It should be 'float32', 'float16', 'bfloat16'"]),
        ({"store": ""}, ['`store` is "". It should have at least 1 character.']),
    ],
    ids=str,
)  # fmt: skip
def test_mistakes_in_options(options, parts):
    with pytest.raises(SpecError) as caught:
        derived_study(**{"store": "s", "models": [], "samplers": []} | options)
    for part in parts:
        assert part in str(caught.value)


def test_the_same_model_twice_is_one():
    study = derived_study(store="s", models=["a", "a"], samplers=["ddim:5", "ddim:5"]).study
    assert study.runs() == [("a", "ddim-5", "none")]


@given(st.lists(st.text(max_size=12), max_size=3), st.lists(st.text(max_size=9), max_size=2))
def test_no_options_make_it_fail_otherwise(models, samplers):
    try:
        study = derived_study(store="s", models=models, samplers=samplers).study
    except ReprostoreError:
        return
    assert {model.source for model in study.models.values()} == set(models)


# Values that a study may hold somewhere, at places where it may not.
values = st.sampled_from(
    [
        *["0", "-1", "1.5", "inf", "true", "[]", "{}", '""', "'final'", "2024-01-01", "9" * 25],
        *["[[1]]", "[1, 'x']", "{ dataset = 'digits' }", "{ a = { b = 1 } }", "'0-3'", "'pixel'"],
        *["['ddim50']", "\"\\u0000\"", "'''\n'''", "'é'", "0x" + "f" * 5000, "'../x'", "'s3://x'"],
    ]
)  # fmt: skip
places = st.sampled_from(re.findall(r"(?<== )[^\n]+|(?<=\n)[\w.\[\]-]+(?=[ \n])", EXAMPLE))
lines = st.sampled_from(EXAMPLE.splitlines())


@given(st.lists(st.tuples(places, values | places), max_size=4), st.lists(lines, max_size=2))
def test_no_edit_makes_it_fail_otherwise(tmp_path_factory, edits, dropped):
    text = "\n".join(line for line in EXAMPLE.splitlines() if line not in dropped)
    for old, new in edits:
        text = text.replace(old, new, 1)
    _load_or_explain(tmp_path_factory, text.encode())


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_it_fail_otherwise(tmp_path_factory, content):
    _load_or_explain(tmp_path_factory, content)


json_like = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
fields = st.sampled_from(sorted({*Study.model_fields, *SamplerSpec.model_fields, "kind", "source"}))
study_data = st.dictionaries(
    fields,
    json_like
    | st.dictionaries(fields | st.text(max_size=4), st.dictionaries(fields, json_like, max_size=3)),
    max_size=4,
)


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower()


@given(study_data)
def test_no_data_make_it_fail_otherwise(tmp_path_factory, data):
    text = "\n".join(f"{key} = {_toml(item)}" for key, item in ({"store": "s"} | data).items())
    _load_or_explain(tmp_path_factory, text.encode())


def _load_or_explain(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    try:
        loaded = load_study(path)
    except ReprostoreError as caught:
        error = caught
    else:
        error = None
    event("refused" if error else "loaded")
    if error is not None:
        assert str(error).startswith("fuzzed.toml")
        assert all(part.endswith((".", "?")) for part in error.parts)
        return
    assert Study.model_validate_json(loaded.study.model_dump_json()) == loaded.study
    assert loaded.store_path.is_absolute()
