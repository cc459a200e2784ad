"""A gallery: the walks of enrolled people in one SQLite file, as numbers that describe how they walk, without poses by default.

These numbers are biometric data: they identify people. Only the owner can read the file, and deleted content is
overwritten. Each person's walks are added in one transaction, so that they are there or not even if a process is killed, and
however many processes enroll at once.
"""

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import torch

from gaitlib import InputError
from gaitlib.data.preprocess import NormalizedWalks, as_poses, opening_windows
from gaitlib.evaluation.identification import (
    FEWEST_PEOPLE,
    Descriptions,
    Identifier,
    Strangers,
    check_describes,
    describe,
    strangers,
)
from gaitlib.files import check_writable, opened
from gaitlib.fingerprints import file_fingerprint
from gaitlib.model.checkpoint import PRETRAINED, find_weights, load_model
from gaitlib.model.recognizer import GaitModel
from gaitlib.skeleton import NUM_JOINTS

#: Marks the file as a gallery ("gait"), and the version of its layout.
APPLICATION, SCHEMA = 0x67616974, 1
#: Seconds to wait for another process that writes.
PATIENCE = 60
#: Bytes of the largest gallery that is opened.
MOST_GALLERY = 2**38
#: Candidates named for each walk.
SHOWN = 3
_TABLES = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE walks (digest TEXT PRIMARY KEY, subject TEXT NOT NULL, view TEXT NOT NULL, sequence TEXT NOT NULL, "
    "fps REAL NOT NULL, windows INTEGER NOT NULL, statistics BLOB NOT NULL, pose BLOB)",
    "CREATE INDEX of_subject ON walks (subject)",
)
#: The columns of `walks` that describe a walk.
_FACTS = ["subject", "view", "sequence", "fps"]


@dataclass(frozen=True)
class Answer:
    """Whose walk it is.

    subject: an enrolled person, "" for nobody. strangers: the share of people who are not enrolled that would come this close to
    somebody; NaN if too few people are enrolled. candidates: the most likely people, best first, with scores, see `Identifier`.
    """

    sequence: str
    subject: str
    strangers: float
    candidates: list[tuple[str, float]]


@dataclass(frozen=True)
class Found:
    """An answer for each walk, and its basis. far: the share of strangers that may be taken for somebody."""

    answers: list[Answer]
    far: float
    strangers: Strangers
    identifier: Identifier


class Gallery:
    """An open gallery; a context manager. Raises InputError for a file that is not a gallery, is damaged, or of another version.

    create: create the file if it is missing. checkpoint: the model that describes walks, a run or a file; "": the one in the
    package. Raises InputError if the gallery was made with another one.
    """

    def __init__(self, path: str | Path, checkpoint: str = "", *, create: bool = False):
        self.path, self._checkpoint = Path(path), checkpoint or PRETRAINED
        if create and not self.path.exists():
            check_writable(self.path)
            check_describes(self.model)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        with opened(self.path, MOST_GALLERY) as file:
            is_empty = create and not file.read(1)
        address = f"file:{quote(os.path.abspath(self.path))}?mode=rw"
        self._connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)
        try:
            with self._readable():
                self._connection.execute("PRAGMA trusted_schema = OFF")
                self._connection.execute("PRAGMA secure_delete = ON")
            if is_empty:
                self._lay_out()
            with self._readable():
                self._check()
        except BaseException:
            self._connection.close()
            raise

    def _lay_out(self) -> None:
        """Create the tables of an empty file, unless another process was faster."""
        with self._transaction() as new:
            if self._one("SELECT count(*) FROM sqlite_master"):
                return
            for table in _TABLES:
                new.execute(table)
            new.execute(f"PRAGMA application_id = {APPLICATION}")
            new.execute(f"PRAGMA user_version = {SCHEMA}")
            facts = {"checkpoint": self._checkpoint, "fingerprint": self._fingerprint, "changes": 0, "strangers": "{}"}
            new.executemany("INSERT INTO about VALUES (?, ?)", facts.items())

    @property
    def _fingerprint(self) -> str:
        return file_fingerprint(find_weights(self._checkpoint))

    def _check(self) -> None:
        said = f"{self.path} is not a gallery"
        if self._one("PRAGMA application_id") != APPLICATION:
            raise InputError(f"{said} of gaitlib; give another file name.")
        if self._one("PRAGMA user_version") != SCHEMA:
            raise InputError(f"{said} of this version of gaitlib; enroll its people again.")
        if self._about("fingerprint") != self._fingerprint:
            raise InputError(
                f"{self.path} was made with another checkpoint than {self._checkpoint}, then called "
                f"{self._about('checkpoint')!r:.100}; name that one with --checkpoint, or start another gallery."
            )

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *_) -> None:
        self._connection.close()

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn SQLite's errors about a damaged or locked file into one sentence."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(f"The gallery {self.path} cannot be used at the moment: {error}; it is unchanged.") from None
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.path} is not a gallery, or is damaged ({error}); restore an earlier copy.") from None

    def _one(self, query: str, *values):
        return (self._connection.execute(query, values).fetchone() or [None])[0]

    def _about(self, key: str) -> str:
        return self._one("SELECT value FROM about WHERE key = ?", key)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A block in which all changes happen or none; other processes wait."""
        with self._readable():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("UPDATE about SET value = value + 1 WHERE key = 'changes'")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # on a full disk SQLite has already rolled back
                    self._connection.execute("ROLLBACK")
                raise

    def people(self) -> pd.DataFrame:
        """The enrolled people: subject, and their numbers of walks and views."""
        with self._readable():
            rows = self._connection.execute(
                "SELECT subject, count(*), count(DISTINCT view) FROM walks GROUP BY subject"
            ).fetchall()
        return pd.DataFrame(rows, columns=["subject", "walks", "views"])

    def enroll(self, walks: NormalizedWalks, device="cpu", *, keep_poses: bool = False) -> Iterator[str]:
        """Add walks, person by person; yields each person once they are in the file. Existing walks stay as they are.

        keep_poses: keep the normalized poses, too, for display. Raises InputError before anything is added if a name is nearly
        that of somebody else, or a walk is enrolled under another name.
        """
        people = walks.index["subject"].unique()
        self._check_names(people)
        for subject in people:
            some = walks.chosen((walks.index["subject"] == subject).to_numpy())
            rows = list(self._rows(some, device, keep_poses))
            with self._transaction() as connection:
                self._check_names([subject])  # another process may have been faster
                for digest, *_ in rows:
                    other = self._one("SELECT subject FROM walks WHERE digest = ?", digest)
                    if other not in (None, subject):
                        raise InputError(f"A walk of {subject} is already enrolled as {other}; forget one of them first.")
                connection.executemany("INSERT OR IGNORE INTO walks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            yield subject

    def _rows(self, walks: NormalizedWalks, device, keep_poses: bool) -> Iterator[tuple]:
        """The rows of the table `walks`."""
        described = describe(self.model, walks, device)
        bounds = np.searchsorted(described.walk, np.arange(len(walks) + 1))
        moments = as_poses(opening_windows(walks, np.arange(len(walks)), self.model.window))
        for i, facts in enumerate(walks.index[_FACTS].itertuples(index=False)):
            digest = sha256(walks.frames[walks.start[i] : walks.start[i] + walks.length[i]].tobytes()).hexdigest()
            values = described.statistics[bounds[i] : bounds[i + 1]].numpy().astype(np.float16)
            moment = moments[i].astype(np.float16).tobytes() if keep_poses else None
            yield (digest, *facts, len(values), values.tobytes(), moment)

    def _check_names(self, people: Iterable[str]) -> None:
        with self._readable():
            known = {row[0] for row in self._connection.execute("SELECT DISTINCT subject FROM walks")}
        spelled = {_plain(name): name for name in known}
        for name in people:
            other = spelled.setdefault(_plain(name), name)
            if other != name:
                raise InputError(f"{name!r} and {other!r} are nearly the same name; spell each person one way, as with --as.")

    def forget(self, subject: str) -> int:
        """Delete a person; returns the number of walks deleted. Raises InputError if nobody has the name."""
        with self._transaction() as connection:
            count = connection.execute("DELETE FROM walks WHERE subject = ?", [subject]).rowcount
            if not count:
                near = [name for name in self.people()["subject"] if _plain(name) == _plain(subject)]
                raise InputError(f"{self.path} has nobody named {subject!r}" + (f"; did you mean {near[0]!r}?" if near else "."))
            connection.execute("UPDATE about SET value = '{}' WHERE key = 'strangers'")
        with self._readable():
            self._connection.execute("VACUUM")
        return count

    @cached_property
    def model(self) -> GaitModel:
        """The network that describes walks."""
        return load_model(self._checkpoint)[0]

    def descriptions(self) -> Descriptions:
        """The descriptions of all walks. Raises InputError if nobody is enrolled, or the file is damaged."""
        with self._readable():
            rows = self._connection.execute(
                f"SELECT {', '.join(_FACTS)}, windows, statistics FROM walks ORDER BY subject, digest"
            ).fetchall()
            if not rows:
                raise InputError(f"{self.path} is empty; enroll somebody with `gaitlib enroll`.")
            windows = np.array([row[-2] for row in rows])
            values = np.frombuffer(b"".join(row[-1] for row in rows), np.float16).reshape(windows.sum(), -1)
            if not np.isfinite(values).all():
                raise ValueError("some values are not numbers")
        index = pd.DataFrame([row[:-2] for row in rows], columns=_FACTS)
        return Descriptions(torch.from_numpy(values.copy()), np.repeat(np.arange(len(rows)), windows), index)

    def pose(self, subject: str, view: str) -> np.ndarray | None:
        """A moment of a person's walk, from this view if possible, float32 [T, 15, 2], normalized; None if no poses were kept."""
        with self._readable():
            query = "SELECT pose FROM walks WHERE subject = ? AND pose IS NOT NULL ORDER BY view != ?, sequence"
            kept = self._one(query, subject, view)
            return kept and np.frombuffer(kept, np.float16).astype(np.float32).reshape(self.model.window, NUM_JOINTS, 2)

    def strangers(self, enrolled: Descriptions) -> Strangers:
        """How close strangers come to the enrolled people; measured again only if the file has changed."""
        with self._readable():
            changes, known = self._about("changes"), json.loads(self._about("strangers"))
            if known.pop("changes", None) == changes:
                return Strangers(**known)
            found = strangers(self.model.discriminants, enrolled)
            value = json.dumps({**asdict(found), "changes": changes})
            with suppress(sqlite3.OperationalError):  # for a read-only gallery it is measured each time
                self._connection.execute("UPDATE about SET value = ? WHERE key = 'strangers'", [value])
            return found

    def identify(self, walks: NormalizedWalks, far: float = 0.01, device="cpu") -> Found:
        """Whose each walk is, at a threshold that accepts at most the share `far` of strangers.

        Raises InputError if only one person is enrolled, because a person can only be told from others.
        """
        enrolled = self.descriptions()
        if len(people := enrolled.index["subject"].unique()) < 2:
            raise InputError(
                f"{self.path} has only {people[0]} in it, and a person can only be told from others; enroll at least one more "
                f"person, better {FEWEST_PEOPLE} people in all."
            )
        near, identifier = self.strangers(enrolled), Identifier(self.model.discriminants, enrolled)
        scores = identifier.scores(identifier.vectors(describe(self.model, walks, device)))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :SHOWN]
        answers = []
        for sequence, score, best in zip(walks.index["sequence"], scores, order, strict=True):
            candidates = [(str(identifier.people[k]), float(score[k])) for k in best]
            name, highest = candidates[0]
            answers.append(Answer(sequence, name * (highest >= near.score(far)), float(near.share(highest)), candidates))
        return Found(answers, far, near, identifier)


def _plain(name: str) -> str:
    """A name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())
