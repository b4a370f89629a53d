"""A figure between a title and a caption, on which lengths are given in inches."""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reprostore_analyses.plots.style import DPI, LARGE, SMALL, WIDTH, wrapped

MARGIN = 0.1
LINE = 0.165
"""Height of a line of small text."""


class Sheet:
    """A figure with a title above and a caption below, and space in between.

    Parameters
    ----------
    height : float
        Of the space in between.
    title, caption : str
        Broken into lines as needed.
    width : float
        Of the figure.

    Attributes
    ----------
    figure : Figure
        Where everything is drawn.
    top : float
        Where the space begins, from the upper edge.
    """

    def __init__(self, height: float, title: str, caption: str, width: float = WIDTH) -> None:
        above = wrapped(title, width - 2 * MARGIN, LARGE * 1.15)  # bold letters are wider
        below = wrapped(caption, width - 2 * MARGIN)
        self.top = MARGIN + 0.18 * (above.count("\n") + 1) + 0.08
        self.bottom = MARGIN + LINE * (below.count("\n") + 1) + 0.06
        self.width, self.height = width, self.top + height + self.bottom
        self.figure = Figure(figsize=(width, self.height), dpi=DPI)
        self.text(MARGIN, MARGIN, above, va="top", fontsize=LARGE, weight="bold")
        self.text(MARGIN, self.height - MARGIN, below, va="bottom", color="#333333")

    def single(self) -> Axes:
        """Add axes that fill the space, whatever their labels need."""
        self._arrange(self.bottom)
        return self.figure.add_subplot()

    def legend_below(self, handles: list[Artist], columns: int) -> None:
        """Add a legend between the axes of `single` and the caption, one line high per row."""
        rows = -(-len(handles) // columns)
        self._arrange(self.bottom + LINE * rows + 0.1)
        self.figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, self.bottom / self.height),
            borderaxespad=0.2,
            ncols=columns,
            fontsize=SMALL,
            frameon=False,
        )

    def _arrange(self, bottom: float) -> None:
        low, high = bottom / self.height, 1 - self.top / self.height
        self.figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, low, 1, high - low)))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes at a place, from the left and upper edges."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def canvas(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes without lines whose units are inches, (0, 0) the upper left corner."""
        axes = self.axes(left, top, width, height)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        return axes

    def text(self, left: float, top: float, text: str, **style: str | float) -> None:
        """Write a text at a place, small unless the style says otherwise."""
        place = left / self.width, 1 - top / self.height
        # mypy would have each key of a text style named.
        self.figure.text(*place, text, **{"fontsize": SMALL, **style})  # type: ignore[arg-type]
