"""Take the numbers of a finished run into docs/numbers.json, and lay them out in README.md as docs/numbers.md.j2 says.

    python docs/readme_numbers.py reports/quick      (make readme-numbers)

numbers.json holds aggregates only. Its entry "quick" comes from the run; every other entry names its source and is kept.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from gaitlib.files import read_json
from gaitlib.rounding import half_up

FOLDER = Path(__file__).parent
NUMBERS, TEMPLATE, README = FOLDER / "numbers.json", FOLDER / "numbers.md.j2", FOLDER.parent / "README.md"
_BLOCK = re.compile(r"(?<=<!-- made by `make readme-numbers` -->\n).*(?=<!-- end -->)", re.DOTALL)


def numbers_of(run: Path) -> dict:
    """What README.md quotes of a run: [value, low, high] each, rank-1 in percent, errors in percent of the torso length."""
    metrics, provenance = read_json(run / "metrics.json"), read_json(run / "provenance.json")

    def rank1(found: Mapping) -> dict:
        shares = {name: (share, *found["ci95"][name]) for name, share in found["rank1"].items() if name != "mean"}
        return {name: [half_up(100 * share) for share in values] for name, values in shares.items()}

    errors = {guess: [half_up(error) for error in values] for guess, values in metrics["exchange"].items()}
    machine = {name: provenance["hardware"][name] for name in ("cpu", "threads")}
    return {
        "commit": provenance["commit"][:7], **machine, "people": metrics["counts"]["people"],
        "rank1": rank1(metrics), "baseline": rank1(metrics["baseline"]), "errors": errors,
    }  # fmt: skip


def block(numbers: Mapping) -> str:
    """The part of README.md that states results."""
    page = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    page.filters["interval"] = lambda values, unit="": "{:.1f}{}\u00a0[{:.1f},\u00a0{:.1f}]".format(values[0], unit, *values[1:])
    page.filters["slashed"] = lambda values: " / ".join(f"{value:.1f}" for value in values)
    return page.from_string(TEMPLATE.read_text("utf-8")).render(numbers)


def with_block(readme: str, numbers: Mapping) -> str:
    """README.md with that part replaced."""
    return _BLOCK.sub(lambda _: block(numbers), readme)


def main(run: Path) -> None:
    numbers = json.loads(NUMBERS.read_text("utf-8")) | {"quick": numbers_of(run)}
    NUMBERS.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", "utf-8")
    README.write_text(with_block(README.read_text("utf-8"), numbers), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
