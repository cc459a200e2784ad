"""From files of poses to a data set folder: read, repair, write, and go on where that was interrupted."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gaitlib import __version__
from gaitlib.data.dataset import GaitDataset, Walk, write_dataset
from gaitlib.data.draft import Draft
from gaitlib.poses.formats import FORMATS, Changed, Tally, guess, read
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
    options: cameras, layout, pattern, names, strict, fps, as `gaitlib.poses.formats.read` has them.
    say: is told what was decided. progress: wraps the walks as they come; gets how many there are already.
    What was read before an interruption is kept beside `out`, and the same call goes on from there.
    Raises InputError for what cannot be read or written; nothing is kept then.
    """
    source, out, repairs = Path(source), Path(out), Repair.parse(repair)
    if format == "auto":
        format, why = guess(source)
        say(f"Format {format}: {why}")
    known = FORMATS.get(format)
    names = options.get("names")
    key = [__version__, str(source.absolute()), format, str(repairs), {k: str(v) for k, v in options.items()}, _content(names)]
    with Draft(out, json.dumps(key) if known and known.find else "") as draft:
        tally = Tally(**draft.state)

        def walks() -> Iterator[Walk]:
            return read(source, format, left_out=tally.left_out, workers=workers, tally=tally, **options)

        try:
            found = walks()
        except Changed:
            draft.restart()
            tally = Tally()
            found = walks()
        draft.state = vars(tally)
        if draft.walks:
            say(f"Going on where it was interrupted, after {tally.sequences} sequences")
        notes = {"format": format, "cameras": options.get("cameras", "sensor")}

        def noting() -> Iterator[Walk]:  # the counts are complete when the last walk has been taken
            yield from repairs.stream(progress(found, draft.walks), tally.repaired)
            if known.find:
                notes.update(tally.notes())
            if repair:
                notes["repair"] = {"steps": str(repairs), "changed": tally.repaired}

        try:
            return write_dataset(
                out, noting(), name=known.dataset or source.name, license=known.license, citation=known.citation,
                left_out=tally.left_out, notes=notes, draft=draft,
            )  # fmt: skip
        except KeyboardInterrupt:
            if draft.kept:
                say("Interrupted; what was read is kept, and the same command goes on from there.")
            raise


def _content(file: str | Path | None) -> str:
    """A digest of the content of a file, "" where there is none."""
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    except OSError:
        return ""
