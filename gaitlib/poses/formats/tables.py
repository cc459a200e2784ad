"""CSV tables in which a row is a frame and one file holds many walks: where the rows of each lie, and their numbers.

A table is read twice: once from end to end for the places of the walks, then the places of one walk at a time, so that
memory holds one walk and a few numbers for each of the others. Fields may be quoted; they hold no commas or line ends.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gaitlib import InputError
from gaitlib.poses.formats.files import folders_with
from gaitlib.poses.sequences import Sequence, Unusable

#: Bytes; 136 keypoints of 3 numbers take 8,000.
LONGEST_LINE = 2**16
#: Bytes of the rows of one walk: half an hour at 30 frames a second and 1,000 bytes a row is half of it.
LARGEST_WALK = 2**27
#: A walk in more pieces than this is a table sorted by something else.
MOST_PIECES = 1000

_BOM = b"\xef\xbb\xbf"


def files(source: Path) -> Iterator[Path]:
    """The file `source`, or the tables in a folder and below."""
    if source.is_file():
        yield source
        return
    for folders, names in folders_with(source, (".csv",)):
        yield from (source.joinpath(*folders, name) for name in names)


def find_all(source: Path, look: Callable[[Path], tuple[Callable[[bytes], str], bool]], wanted: str) -> Iterator[Sequence]:
    """The walks of a table, or of all tables in a folder; each is read once from end to end for the places of its walks.

    look: from a table to `walk_of` and `header` of `find`; raises Unusable where it is another table, which is then one
    sequence that holds no rows. wanted: the advice where `source` itself is such a table, which raises InputError.
    """
    for path in files(source):
        try:
            walk_of, header = look(path)
        except Unusable as reason:
            if source.is_file():
                raise InputError(f"{path} {reason}; {wanted}.") from None
            yield Sequence(path.stem, (path,))
        else:
            yield from find(path, walk_of, header=header)


def first_row(path: Path) -> list[str]:
    """The fields of the first line. Raises Unusable where there is none, or it is no text."""
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_LINE).removeprefix(_BOM)
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    if not line.strip():
        raise Unusable("is empty" if not line else "starts with an empty line")
    if len(line) == LONGEST_LINE:
        raise Unusable("is no table: its first line does not end")
    fields = [field.strip() for field in _text(line).split(",")]
    if len(fields) == 1 and (other := next((sign for sign in ";\t" if sign in fields[0]), "")):
        raise Unusable(f"has columns separated by {other!r}; save it with commas")
    return fields


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8").replace('"', "")
    except UnicodeDecodeError:
        raise Unusable("is no text in UTF-8") from None


def find(path: Path, walk_of: Callable[[bytes], str], *, header: bool) -> Iterator[Sequence]:
    """The walks of a table, in the order of their first rows; `key` says where their rows lie.

    walk_of: the path of the walk that a line belongs to; called when the line begins differently from the one before.
    header: whether the first line holds names.
    Raises InputError for a line without end, or walks in too many pieces.
    """
    places: dict[str, list[int]] = {}
    current = None
    try:
        with path.open("rb") as file:
            position = len(file.readline(LONGEST_LINE)) if header else 0
            if not header and file.read(len(_BOM)) == _BOM:
                position = len(_BOM)
            file.seek(position)
            while line := file.readline(LONGEST_LINE):
                start, position = position, position + len(line)
                if len(line) == LONGEST_LINE:
                    raise InputError(f"{path} holds a line of more than {LONGEST_LINE:,} bytes; check that it is a table.")
                if line.isspace():
                    continue
                walk = walk_of(line)
                if walk != current:
                    current, pieces = walk, places.setdefault(walk, [])
                    pieces += (start, position)
                    if len(pieces) > 2 * MOST_PIECES:
                        raise InputError(f"{path}: the rows of {walk[:80]} lie in too many places; sort the table by walk.")
                pieces[-1] = position
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the file.") from None
    for walk, pieces in places.items():
        yield Sequence(walk, (path,), " ".join(map(str, pieces)))


def rows(path: Path, key: str, columns: int) -> list[str]:
    """The fields of all rows of a walk, end to end; every row has `columns` of them.

    key: of a Sequence that `find` gave. Raises Unusable for rows of other lengths, or no text.
    """
    edges = [int(edge) for edge in key.split()]
    if sum(edges[1::2]) - sum(edges[0::2]) > LARGEST_WALK:
        raise Unusable(f"takes more than {LARGEST_WALK >> 20} MiB of the table, which no single walk does")
    pieces = []
    try:
        with path.open("rb") as file:
            for start, stop in zip(edges[0::2], edges[1::2], strict=True):
                file.seek(start)
                pieces.append(file.read(stop - start))
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from None
    lines = [line for line in _text(b"\n".join(pieces)).splitlines() if line and not line.isspace()]
    if not lines:
        raise Unusable("holds no rows")
    wrong = next((line for line in lines if line.count(",") != columns - 1), None)
    if wrong is not None:
        raise Unusable(f"a row has {wrong.count(',') + 1} fields, not {columns}: {wrong[:60]!r}")
    return ",".join(lines).split(",")


def numbers(cells: list[str]) -> np.ndarray:
    """The numbers in the cells, float64; NaN for empty ones. Raises Unusable with the first that is none."""
    if "" in cells:
        cells = [cell or "nan" for cell in cells]
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        pass
    for cell in cells:  # only reached where one is wrong
        try:
            float(cell if cell.strip() else "nan")
        except ValueError:
            raise Unusable(f"{cell[:40]!r} is no number") from None
    return np.array([cell if cell.strip() else "nan" for cell in cells], dtype=np.float64)


def whole_numbers(cells: list[str]) -> np.ndarray:
    """The frame numbers in the cells, int64. Raises Unusable where one is empty, no whole number or out of range."""
    found = numbers(cells)
    bad = ~((np.abs(found) < 2**53) & (found == np.floor(found)))
    if bad.any():
        raise Unusable(f"{cells[int(np.argmax(bad))][:40]!r} is no frame number")
    return found.astype(np.int64)
