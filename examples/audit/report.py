"""Print all metrics of an audited study as one table, one column per model."""

import argparse
import math
from pathlib import Path
from typing import Any

from reprostore.specs import Spec
from reprostore.study import load_study
from reprostore_analyses.asked import asked_analyses
from reprostore_analyses.computing import analyze_store


def main() -> None:
    """Compute what is missing and print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", default=Path(__file__).with_name("study.toml"))
    loaded = load_study(str(parser.parse_args().study))
    asked = asked_analyses(loaded, (), {})
    analyzed = analyze_store(loaded.store_path, loaded, asked)
    lines: dict[str, dict[str, str]] = {}
    runs: dict[str, int] = {}
    for each in analyzed.computed:
        for row in each.rows():
            if "run" not in row or "train_size" not in row:
                continue
            runs[row["run"]] = row["train_size"]
            for name, cell in cells(each.analysis.name, each.options, row).items():
                lines.setdefault(name, {})[row["run"]] = cell
    heads = [f"{path.split('/')[0]} (N = {size})" for path, size in runs.items()]
    print("| | " + " | ".join(heads) + " |")
    print("|---|" + "---|" * len(heads))
    for name, values in lines.items():
        print(f"| {name} | " + " | ".join(values.get(path, "–") for path in runs) + " |")


def cells(analysis: str, options: Spec, row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of one row by the name of their line: samples, then unseen real items."""
    if analysis == "generalization":
        return {
            f"copies, cosine > {row['threshold']:g}": both(row, "memorized", "held_out_memorized"),
            "copies at the calibrated threshold": (
                f"{bounded(row, 'calibrated_memorized')} at {row['calibrated_threshold']:.3f}"
            ),
        }
    if analysis == "memorization" and not row["table"]:
        return {row["title"]: both(row, "generated_train", "held_out_train")}
    if analysis == "fidelity" and row["table"] == "":
        return {
            f"{row['title']} to what it saw": both(row, "generated_train", "held_out_train"),
            f"{row['title']} to unseen": bounded(row, "generated_held_out"),
        }
    if analysis == "fidelity":
        return {row["title"]: both(row, "generated_generated", "held_out_held_out")}
    if analysis == "duplicates":
        return {
            "further near-identical items in copied groups / in others": (
                f"{number(row['copied_mean'])} / {number(row['other_mean'])} "
                f"(z = {number(row['z'])})"
            )
        }
    return {}


def both(row: dict[str, Any], samples: str, unseen: str) -> str:
    """Write a value with its interval, and that of unseen real items after a slash."""
    if unseen not in row or math.isnan(row[unseen]):
        return bounded(row, samples)
    alone = math.isnan(row[f"{samples}_low"])  # then the interval of the unseen is what is known
    real = bounded(row, unseen) if alone else number(row[unseen])
    return f"{bounded(row, samples)} / {real}"


def bounded(row: dict[str, Any], name: str) -> str:
    """Write a value with its interval where it has one."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    value = number(row[name])
    return value if math.isnan(low) else f"{value} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Write a number with two digits below 1 and three above; NaN as a dash."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


if __name__ == "__main__":
    main()
