"""Draw benchmarks.png, the figure of README.md, from the first table of benchmarks.rst.

Run it from any folder: ``python docs/benchmark_figure.py``.
"""

import re
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
ERROR_COLOR, LOG_LOSS_COLOR = "#1f5fa8", "#d1701c"


def read_ratios() -> dict[str, tuple[float, float]]:
    """Return the error ratio and the log loss ratio of skreg to each method, in the order of the table."""
    text = (DOCS / "benchmarks.rst").read_text(encoding="utf-8")
    table = re.search(r"^skreg against.*?\n=[= ]+\n(.*?)\n=[= ]+\n", text, re.MULTILINE | re.DOTALL)
    if table is None:
        raise ValueError("benchmarks.rst has no table that begins with 'skreg against'.")
    row = re.compile(r"^(\S.*?) {2,}(\d\.\d+) +\d\.\d+ +\d\.\d+ +(\d\.\d+) ", re.MULTILINE)
    return {name: (float(error), float(log_loss)) for name, error, log_loss in row.findall(table[1])}


def main() -> None:
    """Draw a row for each method with one mark for the error and one for the log loss."""
    ratios = read_ratios()
    figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
    rows = range(len(ratios))
    errors, log_losses = zip(*ratios.values(), strict=True)
    ax.axvline(1, color="0.35", linewidth=1)
    ax.hlines(rows, log_losses, errors, color="0.85", linewidth=3, zorder=0)
    for values, color, marker, label in (
        (errors, ERROR_COLOR, "o", "error (24 datasets)"),
        (log_losses, LOG_LOSS_COLOR, "s", "log loss (15 classification datasets)"),
    ):
        ax.scatter(values, rows, color=color, marker=marker, s=55, label=label)
        for row, value in zip(rows, values, strict=True):
            ax.annotate(
                f"{value:.3f}", (value, row), (0, 7), textcoords="offset points", ha="center", color=color, fontsize=8
            )
    ax.set_yticks(rows, [name.replace("scikit-learn's network, in a pipeline", "scikit-learn MLP") for name in ratios])
    ax.set_ylim(len(ratios) - 0.4, -0.8)
    ax.set_xlim(0.72, 1.08)
    ax.set_xlabel("skreg relative to the method, both at their defaults (geometric mean of ratios)")
    ax.set_title("Left of the line, skreg is better", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.42, -0.2), ncols=2, frameon=False)
    figure.savefig(DOCS / "benchmarks.png", dpi=150)


if __name__ == "__main__":
    main()
