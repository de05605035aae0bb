"""A figure as all tables show it; nothing heavy is loaded for it."""

from __future__ import annotations


def number(figure: float | None) -> str:
    """Three decimals, fewer for large figures, or a dash.

    >>> number(0.12345), number(None), number(-1234.5), number(-33.797)
    ('0.123', '-', '-1234', '-33.8')
    """
    if figure is None:
        return "-"
    return f"{figure:.{0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 3}f}"
