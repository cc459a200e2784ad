"""Rounding as spreadsheets do it, so that a page, a figure and a workbook show the same digits."""

import math
from decimal import ROUND_HALF_UP, Decimal

#: What follows a share on a page, behind a narrow no-break space.
UNIT = "\u202f%"


def half_up(number: float, digits: int = 1) -> float:
    """The number with so many decimals, a half away from zero; NaN and infinity stay.

    Python rounds a half to the even digit: 92.25 to 92.2. What binary fractions add far behind the point does not count.
    """
    if not math.isfinite(number):
        return number
    return float(Decimal(repr(round(float(number), 9))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def percent(share: float, digits: int = 1, sign: str = "") -> str:
    """A share, 0..1, in percent with so many decimals: 0.9225 is "92.3"; sign="+" writes "+92.3"."""
    return f"{half_up(100 * share, digits):{sign}.{digits}f}"


def with_interval(value: float | None, low: float | None = None, high: float | None = None, *, unit="", sign="") -> str:
    """A share with its interval, in percent: "95.3 [91.2, 98.4]"; unit: what follows the share. A dash where it is not known."""
    value, low, high = (math.nan if number is None else float(number) for number in (value, low, high))
    if not math.isfinite(value):
        return "–"
    interval = f"\u00a0[{percent(low, 1, sign)},\u00a0{percent(high, 1, sign)}]" if math.isfinite(low + high) else ""
    return percent(value, 1, sign) + unit + interval
