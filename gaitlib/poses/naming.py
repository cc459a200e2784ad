"""Subject, condition, run and view of a walk: read from the path of a sequence, or looked up in a table.

These spellings are recognized automatically at the end of a path; anything that follows them is ignored:

    001-nm-01-090                   CASIA-B, in one folder or file name, also with a suffix: 001-nm-01-090_pose
    001/nm-01/090                   CASIA-B in the layout of OpenGait and FastPoseGait, 001/nm-01/090/090
    001/nm-01/001-nm-01-090         CASIA-B, both
    00001/00/090                    OU-MVLP in the layout of OpenGait: subject, sequence, view
    090_00/00001, 00001/090_00      OU-MVLP as released: view and sequence, subject

OU-MVLP has no conditions, so its condition is "nm"; the run is the number of its sequence, 0 or 1, as in its protocol.
"""

import csv
import difflib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from gaitlib import InputError
from gaitlib.files import Unreadable, read_text
from gaitlib.poses.sequences import Sequence, Unusable

FIELDS = ("subject", "condition", "run", "view")
_DEFAULTS = {"condition": "nm", "run": "1", "view": "000"}

#: What a name may consist of; it becomes part of file names.
_PLAIN = re.compile(r"\w(?:[\w.+-]{0,62}\w)?")
_DASHED = re.compile(r"(?P<subject>[A-Za-z0-9]+)-(?P<condition>[A-Za-z]+)-(?P<run>\d{1,3})-(?P<view>\d{3})(?!\d).*")
_FOLDERS = (
    re.compile(r"(?P<subject>[A-Za-z0-9]+)/(?P<condition>[A-Za-z]+)-(?P<run>\d{1,3})/(?P<view>\d{3})(?!\d).*"),
    re.compile(r"(?P<subject>\d{5})/(?P<run>\d\d)/(?P<view>\d{3})(?!\d).*"),
    re.compile(r"(?P<view>\d{3})_(?P<run>\d\d)/(?P<subject>\d{5})(?!\d).*"),
    re.compile(r"(?P<subject>\d{5})/(?P<view>\d{3})_(?P<run>\d\d)(?!\d).*"),
)
_SUFFIX = re.compile(r"\.(json|npy|npz|pkl|csv|txt|mp4|mov|m4v|avi|mkv|webm)$", re.IGNORECASE)
_LONGEST_PATH = 1000


@dataclass(frozen=True)
class Name:
    """Whose walk it is: subject, condition and view are plain names, run counts the repetitions.

    within: the folders before it in the path, which are not part of the name: "siteA" in siteA/001/nm-01/090.
    """

    subject: str
    condition: str = "nm"
    run: int = 1
    view: str = "000"
    within: str = field(default="", compare=False)


def checked(subject: str, condition: str, run: str, view: str, within: str = "") -> Name:
    """The Name of these texts. Raises Unusable if one is not a plain name, or run is not a whole number of up to six digits."""
    for what, text in (("subject", subject), ("condition", condition), ("view", view)):
        if not _PLAIN.fullmatch(text) or ".." in text:
            raise Unusable(f"{what} {text[:40]!r} is not a plain name of up to 64 letters and digits, with . _ + - inside")
    if not re.fullmatch(r"[0-9]{1,6}", run):
        raise Unusable(f"run {run[:40]!r} is not a whole number of up to six digits")
    return Name(subject, condition, int(run), view, within)


def from_path(path: str) -> Name:
    """The name in a path with one of the known spellings; the last one counts.

    path: folders and a file without its suffix, separated by "/". Raises Unusable if there is none.
    """
    parts = path.split("/")
    places = range(len(parts) - 1, -1, -1)
    dashed = ((i, found) for i in places if (found := _DASHED.fullmatch(parts[i])))
    folders = ((i, found) for i in places for known in _FOLDERS if (found := known.fullmatch("/".join(parts[i : i + 4]))))
    i, found = next(dashed, None) or next(folders, (0, None))
    if found is None:
        raise Unusable("its path does not name a subject in a known spelling; give --pattern or --names, or --as when you enroll")
    names = _DEFAULTS | found.groupdict()
    own = [names["subject"], f"{names['condition']}-{names['run']}", names["condition"], names["view"]]
    within = "/".join(part for part in parts[:i] if part not in own)
    return checked(**names | {"condition": names["condition"].lower()}, within=within)


def plain(path: str) -> str:
    """The path with "_" in place of characters that names must not contain, such as the spaces and brackets that phones add."""
    return re.sub(r"[^\w./+-]+", "_", path)


class Pattern:
    """A pattern such as "{subject}/{condition}-{run}/{view}" for the whole path of a sequence below the source.

    The fields are subject, condition, run (a whole number) and view; all but subject may be left out. {any} skips anything within
    one folder's name; a suffix at the end, such as .json, is ignored. Raises InputError for a pattern that cannot be used.
    """

    def __init__(self, pattern: str):
        self.text = pattern
        advice = 'write something like --pattern "{subject}/{condition}-{run}/{view}"'
        fields = re.findall(r"\{([^{}]*)\}", pattern)
        for name in fields:
            if name not in (*FIELDS, "any"):
                near = difflib.get_close_matches(name, FIELDS, n=1)
                wanted = f"did you mean {{{near[0]}}}?" if near else f"the fields are {', '.join(FIELDS)} and any."
                raise InputError(f"--pattern {pattern!r} has the unknown field {{{name}}}; {wanted}")
            if name != "any" and fields.count(name) > 1:
                raise InputError(f"--pattern {pattern!r} has {{{name}}} twice; {advice}.")
        if "subject" not in fields:
            raise InputError(f"--pattern {pattern!r} has no field for the subject; {advice}.")
        if "}{" in pattern:
            raise InputError(f"--pattern {pattern!r} has two fields with nothing between them; {advice}.")
        folders = _SUFFIX.sub("", pattern.strip("/")).split("/")
        self.expression = re.compile("/".join(map(_of_folder, folders)))

    def __call__(self, path: str) -> Name:
        """The name in a path. Raises Unusable if the path does not match."""
        found = self.expression.fullmatch(path) if len(path) <= _LONGEST_PATH else None
        if not found:
            raise Unusable(f"its path {path[:80]!r} does not match --pattern {self.text!r}")
        return checked(**_DEFAULTS | found.groupdict())


def _of_folder(pattern: str) -> str:
    """The regular expression of a pattern for one folder name, whose cost is at most quadratic in the name's length.

    A field and the text after it take the first place that fits and keep it (an atomic group), which leaves most room for the
    rest. Only the last field, which must reach the end, and the one before {run}, which must reach digits, try other places.
    """
    start, *pieces = re.split(r"\{([^{}]*)\}", pattern)
    fields, texts = pieces[0::2], pieces[1::2]
    expression = re.escape(start)
    for name, following, text in zip(fields, [*fields[1:], ""], texts, strict=True):
        found = "[0-9]+" if name == "run" else "[^/]+?"
        group = found if name == "any" else f"(?P<{name}>{found})"
        free = "run" in (name, following) or not following
        expression += f"{'(?:' if free else '(?>'}{group}{re.escape(text)})"
    return rf"(?>{expression}(?=/|\Z))"


def of_person(subject: str) -> Name:
    """The name of a person's first walk. Raises InputError if `subject` cannot be a name."""
    try:
        return checked(subject, **_DEFAULTS)
    except Unusable as reason:
        raise InputError(f"The name cannot be used: {reason}; choose another.") from None


class OnePerson:
    """Name all walks after one person, run after run; condition and view come from `name_of` if it finds them.

    Raises InputError if `subject` cannot be a name.
    """

    def __init__(self, subject: str, name_of: Callable[..., Name]):
        self.name, self.name_of, self.runs = of_person(subject), name_of, count(1)

    def __call__(self, sequence: Sequence) -> Name:
        """The name of the next walk."""
        try:
            found = self.name_of(sequence)
        except Unusable:
            found = self.name
        return replace(found, subject=self.name.subject, run=next(self.runs), within="")


class Table:
    """A CSV file that lists the walks: columns path and subject, and condition, run and view unless they are "nm", 1, "000".

    A path is relative to the source, with or without the file's suffix. Other columns are ignored. Raises
    InputError, with the line, for a table that cannot be used, and for a column whose name nearly matches one of these.
    """

    def __init__(self, file: Path):
        self.file, self.names, self.asked = Path(file), {}, set()
        try:
            self._read(csv.DictReader(io.StringIO(read_text(file))))
        except Unreadable as error:
            raise InputError(f"--names {str(file)[:200]!r} cannot be read: {error.why}.") from None
        except csv.Error:
            raise InputError(f"--names {file} is not a CSV table; save it as one.") from None

    def _read(self, rows: csv.DictReader) -> None:
        columns = [c for c in rows.fieldnames or () if c]
        known = ("path", *FIELDS)
        for column in columns:
            near = difflib.get_close_matches(column.strip().lower(), known, 1, 0.75)
            if column not in known and near and near[0] not in columns:
                raise InputError(f"--names {self.file} has the column {column!r} but none called {near[0]}; rename or remove it.")
        for column in ("path", "subject"):
            if column not in columns:
                raise InputError(f"--names {self.file} lacks the column {column}; it needs path, {', '.join(FIELDS)}.")
        for row in rows:
            line = f"--names {self.file}, line {rows.line_num}"
            path = _key(row["path"] or "")
            try:
                name = checked(row["subject"] or "", *(row.get(f) or _DEFAULTS[f] for f in FIELDS[1:]))
            except Unusable as reason:
                raise InputError(f"{line}: {reason}; correct it there.") from None
            if self.names.setdefault(path, name) != name:
                raise InputError(f"{line}: {path!r} is listed twice with different names; remove one of them.")
        if not self.names:
            raise InputError(f"--names {self.file} lists no walks; add one line for each.")

    def __call__(self, path: str) -> Name:
        """The name listed for a path. Raises Unusable if there is none."""
        path = _key(path)
        if path not in self.names:
            raise Unusable(f"its path {path[:80]!r} is not listed in {self.file.name}")
        self.asked.add(path)
        return self.names[path]

    def unused(self) -> list[str]:
        """The paths that were never looked up."""
        return [path for path in self.names if path not in self.asked]


def _key(path: str) -> str:
    return _SUFFIX.sub("", path.strip().replace("\\", "/").removeprefix("./").strip("/"))
