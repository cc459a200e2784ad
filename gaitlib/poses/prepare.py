"""From pose files to a data set folder: read, repair, write."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gaitlib import InputError
from gaitlib.config import workspace
from gaitlib.data.dataset import GaitDataset, Walk, write_dataset
from gaitlib.poses import followed
from gaitlib.poses.formats import guess, named
from gaitlib.poses.naming import of_person
from gaitlib.poses.reading import Tally, read
from gaitlib.poses.repair import STEPS, Repair


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    repair: str = "",
    workers: int = 1,
    overlay: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[Iterable[Walk]], Iterable[Walk]] = iter,
    **options,
) -> GaitDataset:
    """Read `source`, write the data set folder `out` and open it.

    format: a name in FORMATS, or "auto". repair: see gaitlib.poses.repair. workers: reading processes.
    options: cameras, layout, pattern, names, subject, strict, fps, person, model, start, stop, as for
    `gaitlib.poses.reading.read`.
    overlay: for clips, also write each clip with the skeleton of the followed person; a contact sheet is always written.
    say: is called with each decision. progress: wraps the iterator of walks.
    Raises InputError for what cannot be read or written; an existing data set then stays as it was.
    """
    source, repairs = Path(source), Repair.parse(repair)
    if format == "auto":
        format, why = guess(source)
        say(f"Format {format}: {why}")
    known, tally, left_out, changed = named(format), Tally(), [], {}
    if overlay and not known.has_images:
        raise InputError(f"--overlay is for clips, which --format {format} does not read; leave it out.")
    found = read(source, format, left_out=left_out, workers=workers, tally=tally, **options)
    notes = {"format": format, "cameras": options.get("cameras", "sensor")}

    def noting() -> Iterator[Walk]:  # the counts are complete when the last walk has been taken
        for walk in progress(found):
            yield repairs.apply(walk, changed)
        if known.find:
            notes.update(tally.notes())
        if repair:
            notes["repair"] = {"steps": str(repairs), "changed": changed}
        notes["preparation"] = _decisions(notes)

    def draw(walk: Walk, folder: Path) -> None:
        if who := tally.followed.pop(walk.sequence, None):
            followed.draw(who, folder / "followed" / walk.sequence, overlay=overlay)

    facts = {"name": known.dataset or source.name, "license": known.license, "citation": known.citation}
    return write_dataset(out, noting(), **facts, left_out=left_out, notes=notes, draw=draw)


@contextmanager
def as_dataset(source: str | Path, *, subject: str = "", say: Callable[[str], None] = print) -> Iterator[GaitDataset]:
    """A data set folder as it is, or other files that `prepare` reads, as a data set for the duration of the block.

    subject: whose walks they all are; empty: as in the data set or the paths. Walks read from other files take the files' names.
    Raises InputError as `prepare` does.
    """
    source = Path(source)
    if (source / "dataset.json").is_file():
        dataset = GaitDataset.open(source)
        yield replace(dataset, index=dataset.index.assign(subject=of_person(subject).subject)) if subject else dataset
        return
    (workspace() / "cache").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="read-", dir=workspace() / "cache") as folder:
        dataset = prepare(source, Path(folder) / "data", subject=subject, say=say)
        for entry in dataset.info["left_out"]:
            say(f"left out: {entry['source']}: {entry['reason']}")
        yield replace(dataset, index=dataset.index.assign(sequence=dataset.index["source"]))


def _decisions(notes: dict) -> list[str]:
    """The decisions made when the files were read, a clause each."""
    said = []
    if layouts := notes.get("layouts"):
        said.append("layout " + ", ".join(f"{name}: {count} walks read" for name, count in layouts.items()))
    if "choices" in notes and notes["choices"]["frames"]:
        said.append("one of several people had to be chosen in {frames} frames of {walks} walks".format(**notes["choices"]))
    for step, count in notes.get("repair", {}).get("changed", {}).items():
        said.append(f"repair {step}: {count} {STEPS[step].counts} changed")
    for entry in notes.get("remarks", []):
        more = f" and {entry['walks'] - 1} more" * (entry["walks"] > 1)
        said.append(f"{entry['remark']}: {entry['first']}{more}")
    return said
