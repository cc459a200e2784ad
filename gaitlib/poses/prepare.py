"""From files of poses to a data set folder: read, repair, write."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gaitlib.data.dataset import GaitDataset, Walk, write_dataset
from gaitlib.poses.formats import guess, named
from gaitlib.poses.reading import Tally, read
from gaitlib.poses.repair import Repair


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    repair: str = "",
    workers: int = 1,
    say: Callable[[str], None] = print,
    progress: Callable[[Iterable[Walk], int], Iterable[Walk]] = lambda walks, done: walks,
    **options,
) -> GaitDataset:
    """Read `source`, write the data set folder `out` and open it.

    format: a name in FORMATS, or "auto". repair: see gaitlib.poses.repair. workers: processes that read.
    options: cameras, layout, pattern, names, strict, fps, as `gaitlib.poses.reading.read` has them.
    say: is told what was decided. progress: wraps the walks as they come.
    Raises InputError for what cannot be read or written; nothing is kept then.
    """
    source, out, repairs = Path(source), Path(out), Repair.parse(repair)
    if format == "auto":
        format, why = guess(source)
        say(f"Format {format}: {why}")
    known, tally = named(format), Tally()
    left_out: list[dict] = []
    repaired: dict[str, int] = {}
    notes = {"format": format, "cameras": options.get("cameras", "sensor")}
    walks = read(source, format, left_out=left_out, workers=workers, tally=tally, **options)

    def noting() -> Iterator[Walk]:  # the counts are complete when the last walk has been taken
        yield from repairs.stream(progress(walks, 0), repaired)
        if known.find:
            notes.update(tally.notes())
        if repair:
            notes["repair"] = {"steps": str(repairs), "changed": repaired}

    return write_dataset(
        out, noting(), name=known.dataset or source.name, license=known.license, citation=known.citation,
        left_out=left_out, notes=notes,
    )  # fmt: skip
