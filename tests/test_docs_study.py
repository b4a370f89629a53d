"""docs/study.md against the specs: every key with its default, and examples that load."""

import json
import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from reprostore.recipe import RecipeSpec
from reprostore.samplers.table import known_schedulers
from reprostore.specs import (
    ConditionSpec,
    DatasetSpec,
    EncoderSpec,
    ModelSpec,
    SamplerSpec,
    Subset,
)
from reprostore.study import Study, derived_study, load_study
from reprostore.sweeps import SweepSpec
from reprostore_analyses.asked import options_of
from reprostore_analyses.registry import ANALYSES

PAGE = (Path(__file__).parents[1] / "docs" / "study.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+)\n((?:(?!^##).*\n)*)", PAGE, flags=re.MULTILINE))
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
SPECS = {
    "Top of the file": Study,
    "`[datasets.NAME]`": DatasetSpec,
    "`[recipes.NAME]`": RecipeSpec,
    "`[models.NAME]`": ModelSpec,
    "`[sweeps.NAME]`": SweepSpec,
    "`trained_on`": Subset,
    "`[samplers.NAME]`": SamplerSpec,
    "`[conditions.NAME]`": ConditionSpec,
    "`[encoders.NAME]`": EncoderSpec,
} | {f"`{name}`": analysis.options for name, analysis in ANALYSES.items()}


def _rows(section):
    """Return {key: [type, default, meaning]} of the table in a section."""
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \| (.+) \|$", SECTIONS[section], re.MULTILINE)
    return {key: cells for key, *cells in rows}


def _default(field):
    """Write the default of a field as the page does."""
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "*required*"
    return "–" if default is None else f"`{json.dumps(default)}`"


@pytest.mark.parametrize(("section", "spec"), SPECS.items(), ids=SPECS)
def test_every_key_is_on_the_page_with_its_default(section, spec):
    defaults = {key: cells[1] for key, cells in _rows(section).items()}
    assert defaults == {key: _default(field) for key, field in spec.model_fields.items()}


def test_sections_of_a_study_have_a_heading_each():
    tables = {re.sub(r"\W|NAME", "", heading) for heading in SECTIONS if "NAME" in heading}
    named = {key for key, cells in _rows("Top of the file").items() if cells[0] == "tables"}
    assert tables == named


@pytest.mark.parametrize(
    ("section", "key"),
    [(section, key) for section, spec in SPECS.items() for key in spec.model_fields],
)
def test_every_key_is_used_in_an_example(section, key):
    near = {"Top of the file": PAGE, "`trained_on`": SECTIONS["`[models.NAME]`"]}
    place = near.get(section, SECTIONS[section])
    if section.strip("`") in ANALYSES:
        place = SECTIONS["`[analyses.NAME]`"]
    example = "\n".join(re.findall(r"^```toml\n(.*?)^```", place, re.MULTILINE | re.DOTALL))
    if section.strip("`") in ANALYSES:
        (example,) = re.findall(rf"\[analyses\.{section.strip('`')}\]\n((?:.+\n)*)", example)
    assert re.search(rf"(^|[{{,] ?){key} = |\[{key}\.|\.{key}\]", example, flags=re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_load(example, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(example if "store =" in example else f'store = "s.zarr"\n{example}')
    loaded = load_study(path)
    for name, options in loaded.study.analyses.items():
        options_of(ANALYSES[name], options, loaded)


def test_short_names_of_schedulers_are_those_of_the_tested_table():
    meaning = _rows("`[samplers.NAME]`")["scheduler"][2]
    assert re.findall(r"`([\w-]+)`", meaning) == known_schedulers()


def test_names_without_a_file():
    source, sampler = re.findall(r"--model (\S+) --sampler (\S+)", SECTIONS["Without a file"])[0]
    (run,) = derived_study(store="s", models=[source], samplers=[sampler]).study.runs()
    assert [f"`{part}`" in SECTIONS["Without a file"] for part in run[:2]] == [True, True]
