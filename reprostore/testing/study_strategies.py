"""Hypothesis strategies for study files: valid ones, mistyped ones, and what is no TOML."""

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from reprostore.study_spec import Study, known_keys

if TYPE_CHECKING:
    from collections.abc import Callable

_SECTIONS = ("datasets", "recipes", "models", "sweeps", "samplers", "conditions", "encoders")
_PLAUSIBLE: dict[str, tuple[str, ...]] = {
    "store": ('"s.zarr"', '"/nowhere/s.zarr"'),
    "seeds": ('"0-7"', '"0-4294967295"'),
    "source": ('"checkpoints/a"', '"oracle"', '"gaussian"', '"sklearn:digits"', '"python:a:b"'),
    "trained_on": ('{ dataset = "a", index = "0-7" }', '{ dataset = "b" }'),
    "held_out": ('"8-15"', '"all"'),
    "dataset": ('"a"', '"b"'),
    "recipe": ('"a"', '"b"'),
    "sizes": ("[1, 2, 4]", f"{list(range(1, 400))}"),
    "widths": ("[8, 16]", f"{[8 * n for n in range(1, 400)]}"),
    "trainer_seeds": ("[0, 1]", f"{list(range(400))}"),
    "scheduler": ('"ddim"', '"edm-heun"', '"DDIMScheduler"'),
    "steps": ("2", "1000000000000"),
    "record": ('"final"', '"all"', "[0, 1]"),
    "kind": ('"pixel"', '"none"', '"sscd"'),
    "architecture": ('"unet"', '"mlp"'),
    "objective": ('"epsilon"', '"edm"'),
    "images": ("1000",),
    "samplers": ('["a"]', '["nobody"]'),
    "encoder": ('"pixel"', '"a"'),
}  # fmt: skip
_TOML_VALUES = (
    "true", "false", "1", "-1", "0", "1.5", "1e400", "inf", "-nan", "9223372036854775808",
    "1" * 400, "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", '""', "''", '"""a\nb"""',
    "'''\n'''", "[]", "{}", "[[1], ['a']]", "{ a = 1 }", "{ a.b = 1 }", '"\\u0000"', '"é🙂"',
    '"\\ud800"', "[1, ", '"open', "=", "]", "[" * 40 + "]" * 40, "[" * 5000,
    "{a=" * 30 + "1" + "}" * 30, '["a", 1, true]', "[1979-05-27]",
)  # fmt: skip


@st.composite
def _pairs(draw: st.DrawFn, keys: tuple[str, ...]) -> str:
    key = draw(
        st.sampled_from(keys) | st.sampled_from(("x", "storee", "a.b", '""', '"é"', "models.a"))
    )
    known = _PLAUSIBLE.get(key, _TOML_VALUES)
    return f"{key} = {draw(st.sampled_from(known) | st.sampled_from(_TOML_VALUES))}"


@st.composite
def study_texts(draw: st.DrawFn) -> str:
    """Return texts of study files: known keys with right and wrong values, and what is no TOML."""
    lines: list[str] = []
    if draw(st.integers(0, 4)):
        lines.append('store = "s.zarr"')
    lines += draw(st.lists(_pairs(tuple(Study.model_fields)), max_size=3))
    for _ in range(draw(st.integers(0, 5))):
        section = draw(st.sampled_from((*_SECTIONS, "analyses", "x")))
        name = draw(st.sampled_from(("a", "b", '"c.d"', '""', '"é"', "a.trained_on")))
        header = draw(
            st.sampled_from(("[{}.{}]", "[{}.{}]", "[{}.{}]", "[{}]", "[[{}.{}]]", "[{}.{}"))
        )
        lines.append(header.format(section, name))
        known = (
            tuple(known_keys((section, name))) if section in _SECTIONS else ("encoder", "threshold")
        )
        lines += draw(st.lists(_pairs(known), max_size=6))
    ending = draw(st.sampled_from(("\n", "\n", "\r\n", "\r")))
    return draw(st.sampled_from(("", "", "\ufeff", "\0"))) + ending.join(lines) + ending


@st.composite
def edited_lines(draw: st.DrawFn, text: str, values: tuple[str, ...] = _TOML_VALUES) -> str:
    """Return a text with up to three of its lines removed, doubled, swapped or changed.

    Parameters
    ----------
    draw : callable
        Of Hypothesis.
    text : str
        The text of a study file.
    values : tuple of str
        With one of these a value is replaced.
    """
    lines = text.splitlines()
    edits: list[Callable[[int, int], object]] = [
        lambda at, _: lines.pop(at),
        lambda at, other: lines.insert(other, lines[at]),
        lambda at, other: lines.__setitem__(slice(at, at + 1), [lines[other]]),
        lambda at, _: lines.__setitem__(at, lines[at][: len(lines[at]) // 2]),
        lambda at, _: lines.__setitem__(
            at, f"{lines[at].partition('=')[0]}= {draw(st.sampled_from(values))}"
        ),
    ]
    for _ in range(draw(st.integers(1, 3))):
        if not lines:
            break
        places = st.integers(0, len(lines) - 1)
        draw(st.sampled_from(edits))(draw(places), draw(places))
    return "\n".join(lines) + "\n"
