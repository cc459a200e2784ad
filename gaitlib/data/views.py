"""The names of views: which of them are degrees, how these are written, and how views sort."""

import math
from collections.abc import Iterable


def degrees(view: str) -> float | None:
    """The direction in a view's name, in degrees ("054", "54", "-18", "22.5"); None for any other name."""
    try:
        number = float(view)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def view_name(angle: int) -> str:
    """A whole number of degrees in CASIA-B's spelling: 054."""
    return f"{angle:03d}"


def sorted_views(views: Iterable[str]) -> list[str]:
    """The distinct views: those of degrees first and by number, then the others by name."""
    return sorted(set(views), key=lambda view: (degrees(view) is None, degrees(view) or 0.0, view))
