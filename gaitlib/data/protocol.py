"""Who trains, and which walks are gallery and probe, read from a YAML file in configs/protocols/."""

import re
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from gaitlib import InputError
from gaitlib.config import config_folder, read_yaml
from gaitlib.data.dataset import GaitDataset
from gaitlib.files import Unreadable, check_name

#: Digits of the largest person or run number.
_MOST_DIGITS = 18
_KEYS = {"name", "summary", "train", "test", "validation", "gallery", "probes"}


@dataclass(frozen=True)
class Protocol:
    """train, test: the people, as "1-74", "75-", "2-10306:2, 10307" (:2 is every second number), a list of names, or "all"; the
    two must not share anybody. If train is empty, a checkpoint from elsewhere is evaluated, and nobody validates.

    validation: how many of the training people are held out to choose the checkpoint, spread evenly over their list.
    gallery: the walks that people are enrolled with, as {"condition": [...], "run": "1-4"}.
    probes: name of the probe set -> a selection of the same kind.
    """

    name: str
    train: str | list
    test: str | list
    validation: int
    gallery: dict
    probes: dict[str, dict]
    summary: str = ""

    @classmethod
    def named(cls, name: str) -> "Protocol":
        """The protocol in configs/protocols/NAME.yaml; InputError as in `load`, or if NAME cannot be a file name."""
        return cls.load(config_folder() / "protocols" / f"{check_name(name, 'protocol')}.yaml")

    @classmethod
    def load(cls, path: str | Path) -> "Protocol":
        """The protocol in a YAML file. Raises InputError if there is none, or if it is incomplete or malformed."""
        path = Path(path)
        try:
            content = read_yaml(path)
        except Unreadable as error:
            if not error.is_missing:
                raise
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml"))) or "none"
            raise InputError(f"There is no protocol {path}; the folder has: {known}.") from None
        if not (_KEYS - {"name", "summary"}) <= set(content) <= _KEYS:
            raise InputError(f"{path} must have exactly the keys {', '.join(sorted(_KEYS))} (name and summary may be left out).")
        content.setdefault("name", path.stem)
        if not isinstance(content["probes"], dict) or not content["probes"]:
            raise InputError(f"{path}: probes must name at least one probe set.")
        if not all(isinstance(part, dict) for part in (content["gallery"], *content["probes"].values())):
            raise InputError(f"{path}: gallery and each probe set select walks by keys, as {{condition: nm, run: 1-4}}.")
        for name in content["probes"]:
            check_name(name, f"{path}, probe set")
        if "mean" in content["probes"]:
            raise InputError(f"{path}: a probe set cannot be called mean; the mean of all sets has that name.")
        if content["name"] != path.stem:
            raise InputError(f"{path}: its name is {content['name']!r}; it must be the file's, {path.stem!r}.")
        if type(content["validation"]) is not int:
            raise InputError(f"{path}: validation is a number of people, not {content['validation']!r}.")
        return cls(**content)

    @property
    def content(self) -> dict:
        """Everything that decides who trains and what is measured: all but name and summary."""
        return {key: value for key, value in vars(self).items() if key not in ("name", "summary")}

    def split(self, dataset: GaitDataset) -> "Split":
        """Apply the protocol to a data set.

        Raises InputError as `people` does, if a gallery or probe selection is empty, or if a walk would be both.
        """
        train, validation, test = self.people(sorted(dataset.index["subject"].unique()))
        held = self._roles(dataset, validation) if validation else Roles(dataset.select(subject=[]), np.zeros(0, bool), {})
        return Split(train=dataset.select(subject=train), validation=held, test=self._roles(dataset, test))

    def people(self, people: list[str]) -> tuple[list[str], list[str], list[str]]:
        """Which of these people are for training, validation and test.

        Raises InputError if a named person is not among them or has two spellings, if train and test share people, or if
        too few are left to train on.
        """
        train = _people(self.train, people, f"protocol {self.name}, train") if self.train else []
        test = _people(self.test, people, f"protocol {self.name}, test")
        used, spellings = {*train, *test}, {}
        for other in people:
            one = spellings.setdefault(spelled_alike(other), other)
            if one != other and {one, other} & used:
                raise InputError(
                    f"Protocol {self.name}: the data set has people {one!r} and {other!r}, who may be the same; give each "
                    "person one spelling, or names that differ by more than case and spaces."
                )
        if both := sorted(set(train) & set(test)):
            raise InputError(f"Protocol {self.name}: {', '.join(both[:5])} are in both train and test; choose one for each.")
        if not train and not self.validation:
            return [], [], test
        if len(train) < 4:
            raise InputError(
                f"Protocol {self.name}: {len(train)} training people are too few; at least 4 are needed, 2 to validate."
            )
        if not 2 <= self.validation <= len(train) - 2:
            raise InputError(
                f"Protocol {self.name}: validation must hold out between 2 and {len(train) - 2} of the {len(train)} training "
                f"people, not {self.validation}."
            )
        held = np.unique(np.linspace(0, len(train) - 1, self.validation + 2).round().astype(int)[1:-1])
        validation = [train[i] for i in held]
        return [p for p in train if p not in set(validation)], validation, test

    def roles(self, index: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Which walks are gallery, and which are in each probe set: bool [len(index)] each."""
        return _matching(index, self.gallery), {name: _matching(index, wanted) for name, wanted in self.probes.items()}

    def _roles(self, dataset: GaitDataset, people: list[str]) -> "Roles":
        walks = dataset.select(subject=people)
        gallery, probes = self.roles(walks.index)
        for name, rows in [("gallery", gallery), *probes.items()]:
            if not rows.any():
                raise InputError(
                    f"Protocol {self.name}: no walk of {', '.join(people[:3])}... fits {name} "
                    f"{self.gallery if name == 'gallery' else self.probes[name]}; the data set has conditions "
                    f"{', '.join(sorted(walks.index['condition'].unique()))} and runs "
                    f"{', '.join(map(str, sorted(walks.index['run'].unique())))}."
                )
        for name, rows in probes.items():
            if (both := rows & gallery).any():
                raise InputError(
                    f"Protocol {self.name}: {int(both.sum())} walks are both gallery and {name}, such as "
                    f"{walks.index['sequence'][both].iloc[0]}, and would match themselves; choose other runs for one of the two."
                )
        used = gallery | np.any(list(probes.values()), axis=0)
        chosen = replace(walks, index=walks.index[used].reset_index(drop=True))
        return Roles(chosen, gallery[used], {name: rows[used] for name, rows in probes.items()})


@dataclass(frozen=True)
class Roles:
    """The walks of some people with their roles: gallery and each probe set are bool [len(walks)]."""

    walks: GaitDataset
    gallery: np.ndarray
    probes: dict[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """A data set split by a protocol; the three parts share no person."""

    train: GaitDataset
    validation: Roles
    test: Roles


def spelled_alike(name: str) -> str:
    """A name without case and spaces, equal for names that differ in these only."""
    return "".join(name.split()).casefold()


def _people(wanted: str | list, people: list[str], where: str) -> list[str]:
    """Resolve "1-74", "75-", "2-10306:2, 10307", a list of names or "all" against the people of a data set."""
    if wanted == "all":
        chosen, unknown = people, []
    elif isinstance(wanted, list):
        chosen, known = list(dict.fromkeys(str(w) for w in wanted)), set(people)
        unknown = [w for w in chosen if w not in known]
    else:
        numbered = [p for p in people if p.isdecimal() and len(p) <= _MOST_DIGITS]
        numbers = {int(p): p for p in numbered}
        if alike := [p for p in numbered if numbers[int(p)] != p]:
            raise InputError(
                f"{where}: the data set has people {alike[0]} and {numbers[int(alike[0])]}, which are the same number; "
                "name people in a list, or rename one of the two."
            )
        found, unknown = set(), []
        for part in str(wanted).split(","):
            span, _, step = part.strip().partition(":")
            first, last = _range(span, where)
            if step and not (step.isdecimal() and len(step) <= _MOST_DIGITS and int(step)):
                raise InputError(f"{where}: {part.strip()!r} is not a range; write 1-99:2 for every second number.")
            named = range(first, (max(numbers, default=0) if last is None else last) + 1, int(step or 1))
            found.update(n for n in numbers if n in named)
            if last is not None:
                unknown += islice((f"{n:03d}" for n in named if n not in numbers), 6)
        chosen = [numbers[n] for n in sorted(found)]
    if unknown or not chosen:
        lacking = f"{', '.join(unknown[:5])}{' and more' if len(unknown) > 5 else ''}" if unknown else str(wanted)
        raise InputError(f"{where}: the data set's {len(people)} people do not include {lacking}; correct one of the two.")
    return chosen


def _range(text: object, where: str) -> tuple[int, int | None]:
    """The first and the last number of "1-74" or "7"; the last of "75-" is None."""
    match = re.fullmatch(rf"(\d{{1,{_MOST_DIGITS}}})(?:(-)(\d{{0,{_MOST_DIGITS}}}))?", str(text))
    if not match:
        raise InputError(f"{where}: {text!r} is not a range; write 1-74, 75- or a list.")
    first = int(match[1])
    return first, int(match[3]) if match[3] else None if match[2] else first


def _matching(index: pd.DataFrame, wanted: dict) -> np.ndarray:
    """bool [len(index)]: the rows whose condition, run, view (lists, single values, or a range for run) are as wanted."""
    keep = np.ones(len(index), dtype=bool)
    for column, values in wanted.items():
        if column not in ("condition", "run", "view"):
            raise InputError(f"A protocol selects walks by condition, run or view, not by {column!r}.")
        if column == "run" and not isinstance(values, list):
            first, last = _range(values, "run")
            keep &= index["run"].between(first, np.inf if last is None else last).to_numpy()
        else:
            values = values if isinstance(values, list) else [values]
            if other := [v for v in values if type(v) is not (int if column == "run" else str)]:
                # YAML reads 000 and 036 as the numbers 0 and 30, which would silently match nothing
                advice = "write a whole number" if column == "run" else "write text, in quotes"
                raise InputError(f"A protocol's {column} cannot be {other[0]!r}: {advice}.")
            keep &= index[column].isin(values).to_numpy()
    return keep
