"""What the plots are drawn with: axes, and an SVG for one self-contained page. matplotlib is imported here alone."""

from __future__ import annotations

import functools
import io
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from alignkit.language.speaking import CHINESE, ENGLISH, speaking, spoken
from alignkit.reporting.chinese_font import chinese_font

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")
R = TypeVar("R")

WIDTH, HEIGHT = 6.4, 3.7


def drawn(plot: Callable[P, R]) -> Callable[P, R]:
    """Let a plot say its words in the language of reports, as far as a font of this machine can show it.

    matplotlib measures every text, so that it needs the font; a browser then takes any that it has.
    """

    @functools.wraps(plot)
    def in_a_font(*args: P.args, **options: P.kwargs) -> R:
        import matplotlib

        family = chinese_font() if spoken() == CHINESE else None
        fonts = ["sans-serif", *([family] if family else [])]  # the second has what the first lacks
        with matplotlib.rc_context({"font.family": fonts}), speaking(spoken() if family else ENGLISH):
            return plot(*args, **options)

    return in_a_font


def axes_of(xlabel: str, ylabel: str) -> Axes:
    """Axes of a figure of their own."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=FigureCanvasSVG.fixed_dpi)
    FigureCanvasSVG(figure)  # by which texts are measured
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def svg_of(axes: Axes) -> str:
    """The figure, to be put into a page as it is."""
    import matplotlib
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure: Any = axes.get_figure(root=True)
    buffer = io.StringIO()
    # text stays text: small, searchable, in the page's font; ids depend on the content alone
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alignkit"}):
        # a figure that has an engine of its own is drawn twice, once to lay it out
        ConstrainedLayoutEngine().execute(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    # several pictures in one page must not share ids
    mark = f"p{zlib.crc32(svg.encode()):08x}-"
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{mark}", svg[svg.index("<svg") :])
    # without a size of its own it fills the page's column
    return re.sub(r' (width|height)="[0-9.]+pt"', "", svg, count=2)
