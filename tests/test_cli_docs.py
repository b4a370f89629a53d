"""docs/cli.md against the commands: every option is there, and none that does not exist."""

import re
from pathlib import Path

import pytest
import typer

from reprostore_analyses import footnotes
from reprostore_analyses.registry import ANALYSES
from reprostore_cli import failures
from reprostore_cli.main import app

PAGE = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, flags=re.MULTILINE))
COMMANDS = typer.main.get_command(app).commands


def options(command):
    """Return the long options of a command."""
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {name for name in names if name.startswith("--")}


def test_every_command_has_a_section():
    assert {f"`repro {name}`" for name in COMMANDS} == {h for h in SECTIONS if "repro" in h}
    overview = re.findall(r"^repro (\w+)", PAGE, flags=re.MULTILINE)
    assert overview[: len(COMMANDS)] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_a_command_are_those_of_its_section(name):
    text = re.sub(r"```.*?```", "", SECTIONS[f"`repro {name}`"], flags=re.DOTALL)
    text = re.sub(r"\(`--accept-drift`\)", "", text)  # `analyze` explains a mark by it
    assert set(re.findall(r"--[a-z][a-z0-9-]*", text)) == options(COMMANDS[name])


def test_options_of_the_program_are_on_the_page():
    for option in options(typer.main.get_command(app)):
        assert option in PAGE.split("## ")[0]


def test_examples_use_options_that_exist():
    for name, rest in re.findall(r"^repro (\w+) +(.*)$", PAGE, flags=re.MULTILINE):
        assert set(re.findall(r"--[a-z][a-z0-9-]*", rest)) <= options(COMMANDS[name])


def test_analyses_marks_and_exit_codes_are_on_the_page():
    for name, analysis in ANALYSES.items():
        question = analysis.summary[0].lower() + analysis.summary[1:]
        assert f"`{name}` ({question})" in SECTIONS["`repro analyze`"].replace("\n", " ")
    marks = re.findall(r"^\| `(\W)` \|", SECTIONS["`repro analyze`"], flags=re.MULTILINE)
    assert marks == [footnotes.DRIFT, footnotes.UNCHECKED, footnotes.CHANCE, footnotes.REASON]
    codes = re.findall(r"^\| (\d+) \|", SECTIONS["Output and exit codes"], flags=re.MULTILINE)
    known = [0, failures.BUG, failures.MISTAKE, failures.DAMAGED, failures.INTERRUPTED]
    assert codes == [str(code) for code in known]
