"""Rounding as spreadsheets do it, so that a page, a figure and a workbook show the same digits."""

import math
from decimal import ROUND_HALF_UP, Decimal


def half_up(number: float, digits: int = 1) -> float:
    """The number with so many decimals, a half away from zero; NaN and infinity stay.

    Python rounds a half to the even digit: 92.25 to 92.2. What binary fractions add far behind the point does not count.
    """
    if not math.isfinite(number):
        return number
    return float(Decimal(repr(round(float(number), 9))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def percent(share: float, digits: int = 1) -> str:
    """A share, 0..1, in percent with so many decimals, without the sign: 0.9225 is "92.3"."""
    return f"{half_up(100 * share, digits):.{digits}f}"
