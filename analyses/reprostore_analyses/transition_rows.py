"""Rows of the analysis `transition`, as the tables and ``--json`` show them."""

from typing import Any

import numpy as np
import xarray as xr

from reprostore_analyses.transition_groups import REFERENCES
from reprostore_analyses.transition_options import TransitionOptions

Row = dict[str, Any]

BOUNDS = ("", "_low", "_high")


def transition_rows(result: xr.Dataset, options: TransitionOptions) -> list[Row]:
    """Return the rows of four tables, told apart by `table`.

    Parameters
    ----------
    result : xarray.Dataset
        Of `transition`.
    options : TransitionOptions
        What was asked.

    Returns
    -------
    list of dict
        Plain numbers and texts. "sizes": one row per architecture and N. "pairs": one per pair of
        architectures, or of one and a reference, and N. "fit": one per architecture. "dimension":
        one per dataset.
    """
    rows = [*_size_rows(result), *_pair_rows(result), *_fit_rows(result)]
    if options.dimension != "off":
        rows += _dimension_rows(result)
    return rows


def _size_rows(result: xr.Dataset) -> list[Row]:
    rows = []
    names = [*(f"gl{end}" for end in BOUNDS), *(f"held_out_gl{end}" for end in BOUNDS)]
    axes = ("size_per_root_parameters", "size_per_dimension", "regime_rp")
    labels = result["architecture"].values.tolist()
    for place, name in enumerate(labels):
        for column, size in enumerate(result["size"].values.tolist()):
            at = result.isel(architecture=place, size=column)
            if not int(at["models"]):
                continue
            own = (result["run_architecture"].values == place) & (
                result["run_train_size"].values == size
            )
            regime = int(at["regime"])
            rows.append(
                {
                    "table": "sizes",
                    "architecture": str(name),
                    "train_size": size,
                    "models": int(at["models"]),
                    "runs": result["run"].values[own].tolist(),
                    "encoder": result.attrs["encoder"],
                    "copy_threshold": result.attrs["copy_threshold"],
                    "seeds": int(at["gl_seeds"]),
                    "held_out_items": int(at["held_out_items"]),
                    **{key: float(at[key]) for key in (*names, *axes)},
                    "regime": "unknown" if regime < 0 else result.attrs["regimes"][regime],
                }
            )
    return rows


def _pair_rows(result: xr.Dataset) -> list[Row]:
    rows = []
    paths = [text.split(" | ") for text in result["pair"].values.tolist()]
    columns = [
        *(f"rp{end}" for end in BOUNDS), "chance", "corrected",
        *(f"pfd_{space}{end}" for space in ("pixel", "encoder") for end in (*BOUNDS, "_chance")),
    ]  # fmt: skip
    model = dict(
        zip(result["run"].values.tolist(), result["run_architecture"].values.tolist(), strict=True)
    )
    labels = result["architecture"].values.tolist()
    for place, line in enumerate(result.attrs["lines"]):
        for column, size in enumerate(result["size"].values.tolist()):
            at = result.isel(line=place, size=column)
            if not int(at["pairs"]):
                continue
            kind = result.attrs["kinds"].index(line["kind"])
            own = (result["pair_kind"].values == kind) & (result["pair_size"].values == size)
            runs = {
                path
                for pair, counts in zip(paths, own, strict=True)
                if counts
                and sorted(labels[model[p]] if p in model else line["kind"] for p in pair)
                == sorted((line["a"], line["b"]))
                for path in pair
            }
            score = "oracle_threshold" if line["kind"] in REFERENCES else "threshold"
            rows.append(
                {
                    "table": "pairs",
                    "pair": str(result["line"].values[place]),
                    "kind": line["kind"],
                    "architecture_a": line["a"],
                    "architecture_b": line["b"],
                    "train_size": size,
                    "pairs": int(at["pairs"]),
                    "runs": sorted(runs),
                    "encoder": result.attrs["encoder"],
                    "threshold": result.attrs[score],
                    "seeds": int(at["seeds"]),
                    **{key: float(at[key]) for key in columns},
                }
            )
    return rows


def _fit_rows(result: xr.Dataset) -> list[Row]:
    keys = ("n50", "n50_low", "n50_high", "slope", "dispersion", "bracket_low", "bracket_high")
    return [
        {
            "table": "fit",
            "architecture": str(name),
            **{key: float(result[key][place]) for key in keys},
            "reason": str(result.attrs["fit_reasons"].get(str(name), "")),
        }
        for place, name in enumerate(result["architecture"].values)
    ]


def _dimension_rows(result: xr.Dataset) -> list[Row]:
    rows = []
    for place, name in enumerate(result["dataset"].values):
        row: Row = {
            "table": "dimension",
            "dataset": str(name),
            "items": int(result["dimension_items"][place]),
            "duplicates": int(result["dimension_duplicates"][place]),
            "estimator": str(result.attrs["dimension"]),
            "reason": str(result.attrs["dimension_reasons"].get(str(name), "")),
        }
        for at, neighbors in enumerate(result["neighbors"].values.tolist()):
            for end in BOUNDS:
                value = float(np.asarray(result[f"dimension{end}"])[place, at])
                row[f"dimension_{neighbors}{end}"] = value
        rows.append(row)
    return rows
