"""Lines of keys, against a writer that knows on which line it put every key."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprostore.toml_lines import key_lines

EXAMPLE = '''\
# store = "commented out"
store = "a # b = 1"   # a comment [x]

[datasets.digits]
source = """
[models.no]
not = "a key" \\""" "quoted"""""
labels = \'\'\'
x = 1\'\'\'
list = [
  1, # seeds = 2
  "]", { y = 1 },
]
after-list = 1979-05-27 07:32:00

[models . "unet.v2"]
trained_on = { dataset = "digits", "in\\u0064ex" = '0-3' }
deep.er.key = {a = {b = {}, c = []}}
deep.er.other = true
  [models]
[[many]]
inside = 1
[many.below]
inside = 1
[last]
end = 0'''


def test_every_way_to_write_a_key():
    assert key_lines(EXAMPLE) == {
        ("store",): 2,
        ("datasets",): 4,
        ("datasets", "digits"): 4,
        ("datasets", "digits", "source"): 5,
        ("datasets", "digits", "labels"): 8,
        ("datasets", "digits", "list"): 10,
        ("datasets", "digits", "after-list"): 14,
        ("models", "unet.v2"): 16,
        ("models", "unet.v2", "trained_on"): 17,
        ("models", "unet.v2", "trained_on", "dataset"): 17,
        ("models", "unet.v2", "trained_on", "index"): 17,
        ("models", "unet.v2", "deep"): 18,
        ("models", "unet.v2", "deep", "er"): 18,
        ("models", "unet.v2", "deep", "er", "key"): 18,
        ("models", "unet.v2", "deep", "er", "key", "a"): 18,
        ("models", "unet.v2", "deep", "er", "key", "a", "b"): 18,
        ("models", "unet.v2", "deep", "er", "key", "a", "c"): 18,
        ("models", "unet.v2", "deep", "er", "other"): 19,
        ("models",): 20,
        ("many",): 21,
        ("last",): 25,
        ("last", "end"): 26,
    }
    assert tomllib.loads(EXAMPLE)["last"] == {"end": 0}  # it is TOML


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", " \t"])
def test_nothing_to_find(text):
    assert key_lines(text) == {}


def test_windows_line_ends():
    assert key_lines("a = 1\r\n[t]\r\nb = '''\r\nx'''\r\nc = 2\r\n")["t", "c"] == 5


keys = st.text(max_size=5) | st.sampled_from(["a", "b", "a.b", "#", "=", '"', "'", "[x]", "-1"])
texts = st.text(max_size=8) | st.sampled_from(['"""', "'''", "\n[x]\ny = 1\n", "# z = 1", "}", "]"])
leaves = st.integers(-9, 9) | st.booleans() | texts | st.lists(texts, max_size=3)
tables = st.recursive(
    st.dictionaries(keys, leaves, max_size=3),
    lambda inner: st.dictionaries(keys, leaves | inner, max_size=3),
    max_leaves=8,
)


class Writer:
    """Writes a document in drawn styles and keeps the line of every key."""

    def __init__(self, draw):
        self.draw = draw
        self.text = ""
        self.lines = {}

    def note(self, location):
        for length in range(1, len(location) + 1):
            self.lines.setdefault(location[:length], self.text.count("\n") + 1)

    def filler(self):
        self.text += self.draw(st.sampled_from(["", "", "\n", "# [a]\n", "  # b = '''\n\n", "\t"]))

    def key(self, key):
        if key.isascii() and key.isidentifier() and self.draw(st.booleans()):
            return key
        if "'" not in key and key.isprintable() and self.draw(st.booleans()):
            return f"'{key}'"
        return _quoted(key)

    def value(self, value, location):
        if isinstance(value, dict):
            self.text += "{ "
            for position, (key, item) in enumerate(value.items()):
                self.text += ", " if position else ""
                self.note((*location, key))
                self.text += f"{self.key(key)}="
                self.value(item, (*location, key))
            self.text += " }"
        elif isinstance(value, list):
            self.text += "["
            for item in value:
                self.filler()
                self.value(item, None)
                self.text += ","
            self.text += " ]"
        elif isinstance(value, str):
            self.text += self.string(value)
        else:
            self.text += json.dumps(value)

    def string(self, text):
        if "\r" in text or "\\" in text or not self.draw(st.booleans()):
            return _quoted(text)
        plain = all(character.isprintable() or character == "\n" for character in text)
        if plain and "'''" not in text and not text.endswith("'") and self.draw(st.booleans()):
            return f"'''\n{text}'''"
        return f'"""\n{_quoted(text)[1:-1]}"""'.replace("\\n", "\n")

    def table(self, table, location):
        """Plain and inline values first, then the tables below, which need headers."""
        below = {}
        for key, item in table.items():
            if isinstance(item, dict) and self.draw(st.booleans()):
                below[key] = item
                continue
            self.filler()
            self.note((*location, key))
            self.text += f"{self.key(key)} = "
            self.value(item, (*location, key))
            self.text += "\n"
        for key, item in below.items():
            self.filler()
            inner = (*location, key)
            self.note(inner)
            self.text += f"[{' . '.join(map(self.key, inner))}]\n"
            self.table(item, inner)


def _quoted(text):
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(st.data(), tables)
def test_lines_are_those_of_the_writer(data, document):
    writer = Writer(data.draw)
    writer.table(document, ())
    assert tomllib.loads(writer.text) == document
    assert key_lines(writer.text) == writer.lines


fragments = st.sampled_from(
    [
        *["a", "b.c", '"d e"', "=", " = ", "1", "1.5e3", "true", '"s"', "'l'", '"""m\n"""'],
        *["'''n'''", "[", "]", "[[", "]]", "{", "}", ",", "\n", "\r\n", "# c", "#", " ", "\\"],
        *['"', "'", "2020-01-01 10:00:00", "[a]\n", "[[t]]\n", "[t.u]\n", "x = 1\n"],
        "a.y = {z = [{w = 1}]}\n",
    ]
)


def _locations(table, above=()):
    for key, value in table.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _locations(value, (*above, key))


@given(st.lists(fragments, max_size=25).map("".join) | st.text(max_size=40))
def test_no_text_makes_it_fail(text):
    lines = key_lines(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(lines) == set(_locations(document))


def test_deep_nesting_keeps_what_comes_before():
    text = "a = 1\nb = " + "[" * 100_000 + "]" * 100_000
    assert key_lines(text) == {("a",): 1, ("b",): 2}
