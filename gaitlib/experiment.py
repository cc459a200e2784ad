"""One configuration on one data set: who trains and who is tested, the stages made from it, and the content of a run folder."""

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import yaml
from tqdm import tqdm

from gaitlib import InputError, progress
from gaitlib.config import TERMS, Config, load_config, resolve, root
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import NormalizedWalks, as_poses, mapped, normalize, opening_windows, write_normalized
from gaitlib.data.protocol import Protocol, Split
from gaitlib.data.sampling import example_walks
from gaitlib.data.views import degrees
from gaitlib.data.walkers import Variation, make_walkers, opening_joints, walkers_index
from gaitlib.evaluation.embedding import Embeddings, baseline_embeddings, code_features, embed_walks
from gaitlib.evaluation.exchange import ExchangeErrors, exchange_errors, exchange_view, mean_walks
from gaitlib.evaluation.results import VERIFICATION_PEOPLE, Evaluation, evaluate
from gaitlib.files import replacing, write_text
from gaitlib.fingerprints import code_fingerprint, file_fingerprint
from gaitlib.networks import network_class, network_fingerprint
from gaitlib.poses.inspect import is_simulated
from gaitlib.reports.provenance import provenance
from gaitlib.skeleton import NUM_JOINTS
from gaitlib.stages import Stages

#: Ablations, codes and exchanged views are measured on at most this many people; with more, intervals hardly get narrower.
MOST_PEOPLE = 100
#: The number of the first additional embedded walker, who is in no protocol.
FIRST_OF_MORE = 10_001


@dataclass(frozen=True)
class Experiment:
    """One configuration on one data set; each stage is made when it is first needed, and kept.

    data: a data set folder; empty: the embedded walkers. run: where results and figures go. checkpoint: a run folder, a weights
    file or files of the released program to use instead of training.
    other_people: test people who share a name with training people of the checkpoint are different people.
    loaded: network and facts of the checkpoint, if they have already been read.
    """

    config: Config
    data: str | Path
    stages: Stages
    run: Path
    checkpoint: Path | None = None
    other_people: bool = False
    loaded: tuple | None = None

    @classmethod
    def open(
        cls, config: str = "", overrides: str = "", *, data: str = "", run: str = "reports/lab",
        cache: str = "cache", checkpoint: str = "", other_people: bool = False,
    ) -> "Experiment":  # fmt: skip
        """Paths are relative to the root of the repository, wherever the notebook runs.

        config: a YAML file; empty: the configuration of the checkpoint if one is given, else configs/quick.yaml.
        overrides: "key=value", separated by spaces. data: empty for the embedded walkers.
        checkpoint: for files of the released program, separated by commas: "A.pt,B.pt".
        """
        base, changes = root(), shlex.split(overrides)
        places = {"data": base / data if data else "", "stages": Stages(base / cache), "run": base / run}
        if not checkpoint:
            return cls(load_config(base / (config or "configs/quick.yaml"), changes), **places)
        given = ",".join(str(base / part) for part in checkpoint.split(","))
        if not config:
            return cls.of_checkpoint(given, changes, other_people=other_people, **places)
        return cls(load_config(base / config, changes), checkpoint=Path(given), other_people=other_people, **places)

    @classmethod
    def of_checkpoint(cls, checkpoint: str, overrides: Sequence[str], **others) -> "Experiment":
        """An experiment with the configuration of a checkpoint and some overrides. others: the other fields.

        Raises InputError if it is not a checkpoint, or does not say how it was trained.
        """
        from gaitlib.model.checkpoint import load_model, settings_of

        loaded = load_model(checkpoint)
        settings = resolve(settings_of(loaded[1], checkpoint), checkpoint).model_dump(mode="json")
        return cls(resolve(settings, checkpoint, overrides), checkpoint=Path(checkpoint), loaded=loaded, **others)

    @cached_property
    def dataset(self) -> GaitDataset:
        """The prepared data set, or the embedded walkers as a pose estimator sees them."""
        return GaitDataset.open(self.data) if self.data else self._walkers(faults=True)

    def _walkers(self, faults: bool) -> GaitDataset:
        settings = self.config.walkers
        key = [settings.model_dump(), faults, code_fingerprint("gaitlib.data.walkers", "gaitlib.data.dataset")]

        def make(folder: Path) -> None:
            people = make_walkers(settings.subjects, settings.seed, faults=faults)
            if settings.more:
                world = Variation.world(settings.variety)
                more = make_walkers(settings.more, settings.seed, faults=faults, first_subject=FIRST_OF_MORE, variation=world)
                people = chain(people, more)
            walks = len(walkers_index(1)) * (settings.subjects + settings.more)
            write_dataset(folder / "data", _shown(people, "walkers" if faults else "true walkers", walks), name="walkers")

        return GaitDataset.open(self.stages.made("walkers" if faults else "truth", key, make) / "data")

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol that the configuration names."""
        return Protocol.named(self.config.protocol)

    @cached_property
    def _named(self) -> Split:
        """Who trains, validates and is tested, among the people in the protocol."""
        people = self.dataset.index["subject"].unique().tolist()
        known = people if self.data else people[: self.config.walkers.subjects]
        return self.protocol.split(self.dataset.select(subject=known))

    @cached_property
    def split(self) -> Split:
        """Who trains, validates and is tested."""
        if self.data or not self.config.walkers.more:
            return self._named
        more = self.dataset.index["subject"].unique()[self.config.walkers.subjects :]
        train = {*self._named.train.index["subject"], *more}
        return replace(self._named, train=self.dataset.select(subject=sorted(train)))

    @cached_property
    def test_walks(self) -> NormalizedWalks:
        """The normalized walks of the test people."""
        return self.normalized(self.split.test.walks)

    def normalized(self, walks: GaitDataset) -> NormalizedWalks:
        """`normalize` of some walks of a data set folder; all frames of the folder are normalized once and memory-mapped."""

        def make(folder: Path) -> None:
            write_normalized(GaitDataset.open(walks.folder), folder / "frames.npy")

        key = [walks.fingerprint, code_fingerprint("gaitlib.data.preprocess")]
        return mapped(walks, self.stages.made("normalized", key, make) / "frames.npy")

    @property
    def left_out(self) -> list[dict]:
        """{"source", "reason"} of every walk that was left out."""
        return self.dataset.info.get("left_out", [])

    @property
    def _people(self) -> dict[str, list[str]]:
        """Who trains, and on whom the checkpoint is chosen."""
        parts = {"train": self.split.train, "validation": self.split.validation.walks}
        return {name: sorted(part.index["subject"].unique()) for name, part in parts.items()}

    def check(self) -> None:
        """Raise InputError if protocol, data or checkpoint do not fit, before anything is trained or written."""
        self._check_training()
        if self.data or self.checkpoint:
            tested = self.split.test.walks
        else:  # without making the walkers
            nothing = np.empty((0, NUM_JOINTS, 2), np.float32)
            walkers = GaitDataset(walkers_index(self.config.walkers.subjects), nothing, nothing[..., 0])
            tested = self.protocol.split(walkers).test.walks
        self._check_views(tested)
        if self.checkpoint:
            self._shared_names()

    def _check_training(self) -> None:
        """Raise InputError if a model has to be trained, and its network is not known or the protocol has nobody to train on."""
        if self.checkpoint:
            return
        if self.config.model.network:
            network_class(self.config.model.network)
        if not self.protocol.train:
            raise InputError(f"Protocol {self.protocol.name} has nobody to train on; give a checkpoint with --checkpoint.")

    def _check_views(self, walks: GaitDataset) -> None:
        """Raise InputError if the test people are seen from one view only, or if no two views show the same person."""
        if len(views := walks.views) < 2:
            raise InputError(
                f"Protocol {self.config.protocol}: gallery and probes of the test people are all seen from view {views[0]}; "
                "recognition is measured across views, which needs a second one."
            )
        try:
            example_walks(walks.index, views[0], views[-1])
        except InputError as reason:
            raise InputError(f"Protocol {self.config.protocol}, test people: {reason}") from None

    def _shared_names(self) -> list[str]:
        """Names of test people that are also among those the checkpoint was trained and chosen on.

        Raises InputError if they are the same people, or may be and nobody said that they are different.
        """
        if self._facts.get("walkers") and self.data and "walkers" not in self.dataset.info:
            return []  # nobody is a walker
        learned = self._learned
        shared = sorted(set(self.split.test.walks.index["subject"]) & {*learned["train"], *learned["validation"]})
        if not shared:
            return []
        said = f"Protocol {self.config.protocol} tests {len(shared)} people "
        some = f", such as {', '.join(shared[:3])}; "
        if self._facts.get("data") == self.dataset.fingerprint:
            raise InputError(
                f"{said}on whom this checkpoint was trained or chosen{some}choose a protocol or data whose test people it has "
                "not seen."
            )
        if not self.other_people:
            raise InputError(
                f"{said}whose names are in this checkpoint's list of people it was trained or chosen on{some}if they are other "
                "people with the same names, say so with --other-people."
            )
        return shared

    def trained(self, watch=None) -> Path:
        """The folder with model.safetensors, state.pt, history.csv and logs/, or the given checkpoint.

        watch: a gaitlib.progress.Watch that follows the training, if one is needed; by default, for a point of a grid, its grid.
        """
        if self.checkpoint:
            return self._converted or self.checkpoint
        if not watch and (point := progress.point()):
            watch = progress.Report(point)
        self._check_training()
        facts = {"config": self.config.model_dump(mode="json"), "data": self.dataset.fingerprint, "people": self._people}
        facts["walkers"] = not self.data

        def make(folder: Path) -> None:
            from gaitlib.training import train  # takes seconds to import, with everything that several machines need

            truth = self._truth(self.split.train) if self.config.losses.target == "truth" else None
            train(
                self.config, self.split, folder, watch=watch, pictures=self._pictures, facts=facts, truth=truth,
                normalized=self.normalized,
            )  # fmt: skip

        return self.stages.made("training", self._training_key, make, together=True)

    def train_anew(self) -> None:
        """Make the next `trained` start from scratch, whatever there is."""
        self.stages.renew("training", self._training_key)

    @cached_property
    def _training_key(self) -> list:
        settings = self.config.model_dump(mode="json", exclude={"evaluation", "walkers"})
        measured = [self.protocol.gallery, self.protocol.probes]
        key = [settings, self.dataset.fingerprint, self._people, *measured, code_fingerprint("gaitlib.training")]
        if network := self.config.model.network:
            key.append(network_fingerprint(network))
        if start := self.config.training.start:
            from gaitlib.model.checkpoint import find_weights

            key.append(file_fingerprint(find_weights(root() / start)))
        return key

    def history(self) -> pd.DataFrame | None:
        """The training history, a row per validation; None for a checkpoint without one."""
        path = self._weights.parent / "history.csv"
        return pd.read_csv(path) if path.is_file() else None

    def keep_training(self) -> None:
        """Copy the checkpoint and the logs into the run folder."""
        source, target = self._weights.parent, self.run / "checkpoint"
        if source.resolve() == target.resolve():
            return
        target.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "state.pt", "history.csv", progress.SECONDS):
            if (source / name).is_file():
                with replacing(target / name) as part:
                    shutil.copyfile(source / name, part)
        shutil.rmtree(self.run / "logs", ignore_errors=True)
        if (source / "logs").is_dir():
            shutil.copytree(source / "logs", self.run / "logs")

    @cached_property
    def model(self):
        """The trained network in eval mode, on the CPU."""
        return self._loaded[0]

    @property
    def _facts(self) -> dict:
        """What the checkpoint says about itself."""
        return self._loaded[1]

    @property
    def _learned(self) -> dict[str, list[str]]:
        """On whom the checkpoint was trained and chosen: as it says, or else as the protocol says."""
        return self._facts.get("people", self._people)

    @cached_property
    def _loaded(self) -> tuple:
        from gaitlib.model.checkpoint import load_model

        return self.loaded or load_model(self.trained())

    @cached_property
    def _weights(self) -> Path:
        from gaitlib.model.checkpoint import find_weights

        return find_weights(self.trained())

    @cached_property
    def _converted(self) -> Path | None:
        """The folder with model.safetensors made from the files of the released program; None for a checkpoint of our own."""
        from gaitlib.model.checkpoint import WEIGHTS, load_released, released_files, save_weights

        files = released_files(self.checkpoint)
        if not files:
            return None
        model, facts = load_released(files)

        def make(folder: Path) -> None:
            save_weights(folder / WEIGHTS, model, model.state_dict(), **facts)

        return self.stages.made("released", [[file_fingerprint(file) for file in files], model.settings, facts], make)

    def example(self, model) -> dict[str, np.ndarray]:
        """A validation walk, its reconstruction, its exchanged view, and what that camera saw: name -> float32 [T, 15, 2].

        Empty if the model has no codes, or the validation people no such walks.
        """
        if not (model.autoencoder and self._example_windows):
            return {}
        view, other, windows = self._example_windows
        x, seen_from_there, donor = (y.to(next(model.parameters())) for y in windows)
        reconstruction, exchanged = exchange_view(model, x, donor)
        walks = {
            f"view {view}": x, "reconstruction": reconstruction, f"exchanged to {other}": exchanged,
            f"seen from {other}": seen_from_there,
        }  # fmt: skip
        return {name: as_poses(walk.float())[0] for name, walk in walks.items()}

    @cached_property
    def _example_windows(self) -> tuple:
        """(view, other view, windows of: a walk, the same walk from the other view, another person there), or ()."""
        walks = self.split.validation.walks
        views, index = walks.views, walks.index
        try:
            x, x_v, _, donor = example_walks(index, views[len(views) // 3], views[0])
        except InputError:
            return ()
        chosen = (normalize(walks.select(sequence=[index["sequence"][i]])) for i in (x, x_v, donor))
        return *index["view"][[x, x_v]], [opening_windows(walk, [0], self.config.model.window) for walk in chosen]

    def _pictures(self, model) -> dict:
        """For TensorBoard: the example as strips."""
        from gaitlib.display import figures

        poses = self.example(model)
        return {"reconstruction and exchange": figures.skeleton_strip(poses)} if poses else {}

    def _evaluation_key(self, module: str) -> list:
        """Everything that determines what a module measures on the test people."""
        people = [self._people, sorted(self.split.test.walks.index["subject"].unique()), MOST_PEOPLE]
        settings = [self.config.evaluation.model_dump(), self.protocol.gallery, self.protocol.probes, self.config.seed]
        return [settings, self.dataset.fingerprint, people, code_fingerprint(module), file_fingerprint(self._weights)]

    @property
    def draws(self) -> dict[str, int]:
        """How people are resampled for intervals: every `repeats` and `seed`."""
        return {"repeats": self.config.evaluation.bootstrap, "seed": self.config.seed}

    def embeddings(self) -> Embeddings:
        """The embedding of each test walk, computed once."""
        settings = self.config.evaluation

        def make(folder: Path) -> None:
            model, walks = self.model, self.test_walks  # to have been read when the clock starts
            enrolled = self.split.test.gallery if settings.adapt else None
            began = time.monotonic()
            found = embed_walks(
                model, walks, stride=settings.stride, mirrored=settings.mirrored, enrolled=enrolled, device=_device()
            )
            found.save(folder / "embeddings.npz")
            write_text(folder / progress.SECONDS, json.dumps(time.monotonic() - began))

        folder = self.stages.made("embeddings", self._embeddings_key, make)
        return Embeddings(Embeddings.load(folder / "embeddings.npz").values, self.split.test.walks.index)

    @property
    def _embeddings_key(self) -> list:
        return self._evaluation_key("gaitlib.evaluation.embedding")

    def cost(self) -> dict[str, float | None]:
        """Minutes of the training of this run, and milliseconds to embed a test walk; None where that is not known.

        The minutes are those that `training.minutes` limits, and the last validation. The milliseconds are those of all windows
        of a walk and of their mirror images, without reading and normalizing the walk.
        """

        def seconds(folder: Path) -> float | None:
            path = folder / progress.SECONDS
            return json.loads(path.read_text()) if path.is_file() else None

        weights = self._weights.parent
        is_ours = not self.checkpoint or weights.resolve() == (self.run / "checkpoint").resolve()
        trained = seconds(weights) if is_ours else None
        embedded = seconds(self.stages.folder("embeddings", self._embeddings_key))
        return {
            "training_minutes": trained and trained / 60,
            "milliseconds_per_walk": embedded and 1000 * embedded / len(self.split.test.walks),
        }

    def evaluate(self) -> Evaluation:
        """Rank the test walks and compute every number of metrics.json that depends on embeddings alone.

        Raises InputError if the checkpoint is known to have been trained or chosen on test people.
        """
        test = self.split.test
        self._check_views(test.walks)
        shared = self._shared_names()
        baseline = baseline_embeddings(self.normalized(self._or_enrolled(self.split.train)), self.test_walks)
        evaluation = evaluate(self.embeddings(), baseline, test.gallery, test.probes, **self.draws)
        everybody = int(test.walks.index["subject"].nunique())
        fewer = {"verification_people": VERIFICATION_PEOPLE, "study_people": MOST_PEOPLE}
        evaluation.metrics["counts"] = {
            "people": everybody,
            **{name: most for name, most in fewer.items() if most < everybody},
            "training_people": len(self._learned["train"]),
            "validation_people": len(self._learned["validation"]),
            **({"names_shared_with_training": len(shared)} if shared else {}),
            "gallery": int(test.gallery.sum()),
            "probes": {n: int(rows.sum()) for n, rows in test.probes.items()},
        }
        history = self.history()
        evaluation.metrics["parameters"] = self.model.size
        evaluation.metrics["iterations"] = self._facts.get("iteration") if history is None else int(history["iteration"].iloc[-1])
        return evaluation

    def _or_enrolled(self, train: GaitDataset) -> GaitDataset:
        """Walks that define what is usual: the training walks, or those of the enrolled people if nobody trains."""
        test = self.split.test
        return train if len(train) else test.walks.select(sequence=test.walks.index["sequence"][test.gallery].tolist())

    @cached_property
    def _few(self) -> tuple[GaitDataset, GaitDataset]:
        """The walks of some training people in the protocol, and of some test people."""
        both = self._or_enrolled(self._named.train), self._named.test.walks
        return tuple(walks.select(subject=_some_people(walks)) for walks in both)

    @cached_property
    def _few_normalized(self) -> tuple[NormalizedWalks, NormalizedWalks]:
        return tuple(normalize(walks) for walks in self._few)

    @cached_property
    def _codes(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The features of the codes of these walks, each encoded once."""
        stride = self.config.evaluation.stride
        return tuple(code_features(self.model, walks, stride=stride) for walks in self._few_normalized)

    def _roles_of_few(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Gallery and probes among these test people."""
        test = self.split.test
        few = test.walks.index["subject"].isin(self._few[1].index["subject"]).to_numpy()
        return test.gallery[few], {name: rows[few] for name, rows in test.probes.items()}

    def ablations(self) -> pd.DataFrame:
        """What recognition rests on, a row per ablation: see evaluation/ablations.py; empty if `_study` is.

        Columns: kind, name, rank1, rank1_same_view (probe set and "mean" -> share), ci95 and difference of the mean.
        """
        from gaitlib.evaluation.ablations import ABLATIONS, ablation_table, ablations

        settings = self.config.evaluation

        def rows() -> list[dict]:
            found = ablations(
                self.model, self._few_normalized[0], self._few[1], *self._roles_of_few(), self._codes, stride=settings.stride,
                mirrored=settings.mirrored, adapt=settings.adapt, seed=self.config.seed, device=_device(),
            )  # fmt: skip
            return ablation_table(list(_shown(found, "ablations", ABLATIONS)), **self.draws)

        return pd.DataFrame(self._study("ablations", "gaitlib.evaluation.ablations", rows))

    def scorecard(self) -> pd.DataFrame:
        """What can be read from each code and how invariant it is, a row per measure: see evaluation/codes.py.

        Empty if `_study` is, or if the model has no codes.
        """
        from gaitlib.evaluation.codes import Measure, scorecard

        def rows() -> list[dict]:
            if not self.model.autoencoder:
                return []
            gallery, probes = self._roles_of_few()
            asked = np.any(list(probes.values()), axis=0)
            found = scorecard(self.model, *self._few_normalized, gallery, asked, self._codes, **self.draws)
            return [asdict(measure) for measure in found]

        found = self._study("scorecard", "gaitlib.evaluation.codes", rows)
        return pd.DataFrame(found, columns=[f.name for f in fields(Measure)] if found else None)

    def _study(self, name: str, module: str, rows) -> list[dict]:
        """The rows of a study, from the cache if they are known; none if there is nobody to train on."""
        if not self.config.evaluation.studies or not len(self._named.train):
            return []

        def make(folder: Path) -> None:
            write_text(folder / f"{name}.json", json.dumps(_no_nan(rows())))

        folder = self.stages.made(name, self._evaluation_key(module), make)
        return json.loads((folder / f"{name}.json").read_text())

    def exchange(self) -> ExchangeErrors:
        """Errors of exchanged views over the test people.

        The truth is the noise-free performance of the embedded walkers; for other data, what the cameras saw.
        Raises InputError if no two cameras saw the same moment, or if the model has no codes.
        """
        self.check_codes()
        train, walks = self._few_normalized
        truth = self._truth(walks)
        truth = walks if truth is None else normalize(truth)
        side = min(self.dataset.views, key=lambda view: 0 if degrees(view) is None else abs(degrees(view) - 90))
        window, seed = self.model.window, self.config.walkers.seed
        walkers = None if self.data else opening_joints(walks.index, seed, window)
        return exchange_errors(self.model, walks, truth, mean_walks(train, side, window), walkers)

    def check_codes(self) -> None:
        """Raise InputError if the model has no codes."""
        if not self.model.autoencoder:
            raise InputError(
                "This model has no autoencoder (model.autoencoder: none), so there are no codes to show or to exchange."
            )

    def _truth(self, walks: GaitDataset | NormalizedWalks) -> GaitDataset | None:
        """These walks without the faults of a pose estimator, if they are known: for the embedded walkers."""
        return None if self.data else self._walkers(faults=False).select(sequence=walks.index["sequence"].tolist())

    def keep_results(
        self, evaluation: Evaluation, ablations: pd.DataFrame, scorecard: pd.DataFrame, exchange: ExchangeErrors | None
    ) -> None:
        """Write metrics.json, cost.json, embeddings.npz, results.xlsx and config.yaml into the run folder."""
        from gaitlib.reports import background as tables
        from gaitlib.reports.excel import write_results

        metrics = evaluation.metrics | {
            "ablations": ablations.to_dict("records"),
            "scorecard": scorecard.to_dict("records"),
            "exchange": exchange.summary(**self.draws) if exchange else {},
        }
        self.run.mkdir(parents=True, exist_ok=True)
        evaluation.embeddings.save(self.run / "embeddings.npz")
        write_text(self.run / "metrics.json", json.dumps(_no_nan(metrics), indent=1))
        write_text(self.run / "cost.json", json.dumps(self.cost()))
        facts = {k: v for k, v in self.provenance({}).items() if k not in ("start", "stage_seconds")}  # known only at the end
        background = [tables.exchange_by_view(exchange.to_frame(), metrics["exchange"]["mean_walk"][0])] if exchange else []
        background += [tables.split(self.split), tables.missing_joints(self.dataset)]
        background += [tables.losses({term: getattr(self.config.losses, term) for term in TERMS})]
        background += [tables.training(history)] if (history := self.history()) is not None else []
        self.keep_config()
        write_results(
            self.run / "results.xlsx", metrics=metrics, matrices=evaluation.matrices,
            baseline_matrices=evaluation.baseline_matrices, config=self.config.model_dump(mode="json"), provenance=facts,
            left_out=self.left_out, background=background,
        )  # fmt: skip

    def keep_config(self) -> None:
        """Write config.yaml, fully resolved, into the run folder."""
        write_text(self.run / "config.yaml", yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False))

    def provenance(self, stage_seconds: dict, start: datetime | None = None) -> dict:
        """What provenance.json holds, see `gaitlib.reports.provenance.provenance`."""
        name, citation = self.dataset.name, str(self.dataset.info.get("citation") or "")
        data = {"name": name, "synthetic": is_simulated(self.dataset.index), "citation": citation}
        return provenance(
            config=self.config.model_dump(mode="json"), protocol=asdict(self.protocol), seed=self.config.seed, data=data,
            data_fingerprint=self.dataset.fingerprint, stage_seconds=stage_seconds, start=start,
        )  # fmt: skip


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _shown(items: Iterable, what: str, count: int) -> Iterable:
    """The items, with a progress bar where somebody watches: in JupyterLab and in a terminal, not in pages and logs."""
    watched = "GAITLIB_HEADLESS" not in os.environ and ("ipykernel" in sys.modules or sys.stderr.isatty())
    return tqdm(items, what, count, disable=not watched)


def _some_people(walks: GaitDataset) -> list[str]:
    """MOST_PEOPLE of a data set, spread evenly over their list."""
    people = walks.index["subject"].unique()
    return people[np.unique(np.linspace(0, len(people) - 1, min(MOST_PEOPLE, len(people))).round().astype(int))].tolist()


def _no_nan(value):
    """JSON has no NaN: what could not be measured is null."""
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
