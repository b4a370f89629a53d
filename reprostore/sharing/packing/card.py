"""The README of a pack, for people."""

from collections.abc import Iterable, Sequence

from reprostore.seeds import shorten
from reprostore.sharing.archives.reading import MANIFEST
from reprostore.sharing.packing.about import About, counted

_KINDS = {"embeddings": "vectors", "neighbors": "neighbors", "results": "results"}

_WITHHELD = {True: "withheld", False: "in the store"}


def readme(about: About, pack: str, *, zipped: bool, picture: str | None) -> bytes:
    """Return the README of a pack, in Markdown.

    Parameters
    ----------
    about : About
        What is packed.
    pack : str
        Name of the archive or folder.
    zipped : bool
        Whether it is one archive.
    picture : str, optional
        File of the picture beside it, and None without one.
    """
    lines = [f"# {_plain(about.title)}", "", _plain(about.description), ""]
    lines += [f"- Creators: {_plain(_creators(about)) or 'not stated'}"]
    lines += [f"- Licence: {_plain(about.license or '') or 'not stated: ask before you use it'}"]
    lines += [f"- Published: {about.published}", f"- Content: {_content(about)}", ""]
    if picture is not None:
        lines += [f"![Samples of equal seeds in equal columns, one row per run]({picture})", ""]
    lines += ["## Runs", ""]
    lines += _table(
        ["run", "samples", "seeds", "solver", "states after step", "shape", "dtype", "images",
         "fingerprint"],
        [
            [
                run["name"], f"{run['samples']:,}", shorten(run["seeds"], 60),
                f"{run['scheduler']}, {counted(run['solver_steps'], 'step')}",
                shorten(run["recorded_steps"], 40), "×".join(map(str, run["shape"])),
                run["dtype"], _WITHHELD[run["withheld"]], run["fingerprint"],
            ]
            for run in about.runs
        ],
    )  # fmt: skip
    if about.datasets:
        lines += ["## Datasets", ""]
        lines += _table(
            ["dataset", "items", "shape", "images", "fingerprint"],
            [
                [data["name"], f"{data['items']:,}", "×".join(map(str, data["shape"])),
                 _WITHHELD[data["withheld"]], data["fingerprint"]]
                for data in about.datasets
            ],
        )  # fmt: skip
    if about.encoders:
        lines += ["## Encoders", ""]
        lines += _table(
            ["encoder", "kind", "metric", "runs", "datasets", "fingerprint"],
            [
                [one["name"], one["kind"], one["metric"], str(one["runs"]), str(one["datasets"]),
                 one["fingerprint"]]
                for one in about.encoders
            ],
        )  # fmt: skip
    if about.left_out:
        lines += ["## Not in this pack", "", *(f"- {_plain(text)}" for text in about.left_out), ""]
    lines += [*_use(about, pack, zipped=zipped)]
    return ("\n".join(lines).rstrip() + "\n").encode()


def _use(about: About, pack: str, *, zipped: bool) -> Iterable[str]:
    folder = about.folder
    place = pack if zipped else f"{pack}/{folder}"
    yield from ["## How to read it", "", "With reprostore, in place:", "", "```python"]
    yield "import reprostore as rs"
    yield f'store = rs.open_store("{place}")'
    yield from [
        "print(store.run_paths())",
        "```",
        "",
        "With xarray and zarr alone:",
        "",
        "```python",
    ]
    yield "import xarray as xr"
    if zipped:
        yield "from zarr.storage import ZipStore"
        yield f'archive = ZipStore("{pack}", mode="r")'
        yield (
            f'tree = xr.open_datatree(archive, engine="zarr", group="{folder}", chunks={{}}, '
            "consolidated=False)"
        )
    else:
        yield f'tree = xr.open_datatree("{place}", engine="zarr", chunks={{}}, consolidated=False)'
    run = about.runs[0]
    array = "digest" if run["withheld"] else "sample"
    yield f'tree["runs/{run["name"]}"]["{array}"]'
    yield from ["```", "", "## How to check it, and go on with it", ""]
    yield from [
        "```sh",
        f"repro verify {place}",
        f"repro unpack {pack}" if zipped else "",
        "```",
        "",
    ]
    yield (
        f"`{MANIFEST}` has the size and sha256 of every file, and `ro-crate-metadata.json` the "
        "same description for machines ([RO-Crate](https://w3id.org/ro/crate/1.1)). The store is "
        "plain data: opening, checking and analyzing it runs no code of it."
    )


def _content(about: About) -> str:
    found = [] if all(run["withheld"] for run in about.runs) else ["samples"]
    found += ["datasets"] if any(not data["withheld"] for data in about.datasets) else []
    found += [kind for family, kind in _KINDS.items() if family in about.families]
    listed = f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else "".join(found)
    return f"{listed}; no images" if about.content == "vectors" else listed or "runs alone"


def _creators(about: About) -> str:
    return ", ".join(
        name if address is None else f"{name} ({address})" for name, address in about.creators
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in cells] + [""]


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    one = " ".join(text.split())
    for character in "\\`*_[]<>|#!":
        one = one.replace(character, f"\\{character}")
    return one
