"""The experiment as stages that pass files, and its run: four notebooks executed with papermill into reports/NAME/."""

import inspect
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from gaitlib import InputError, Interrupted, progress
from gaitlib.config import Config, load_config, resolve
from gaitlib.data.dataset import GaitDataset, write_dataset
from gaitlib.data.preprocess import NormalizedWalks, normalize
from gaitlib.data.protocol import Protocol, Split
from gaitlib.data.sampling import example_walks
from gaitlib.evaluation.embedding import Embeddings, baseline_embeddings, embed_walks
from gaitlib.evaluation.results import VERIFICATION_PEOPLE, Evaluation, evaluate
from gaitlib.evaluation.scorecard import ExchangeErrors, exchange_errors, exchange_view, mean_walks
from gaitlib.files import is_taken, replacing
from gaitlib.reports.provenance import code_fingerprint, fingerprint, provenance
from gaitlib.skeleton import NUM_JOINTS

#: Ablations, codes and exchanged views are measured on so many people at most; intervals over more hardly narrow.
MOST_PEOPLE = 100
CHAPTERS = ("01_data_preparation", "02_training", "03_evaluation", "04_visualization")


class StageFailed(Exception):
    """A notebook stopped; the message names it, the cell and the error. `bad_input` tells whose fault it was."""

    def __init__(self, message: str, bad_input: bool):
        super().__init__(message)
        self.bad_input = bad_input


def root() -> Path:
    """The folder with notebooks/ and configs/ that the working folder lies in, or else that of this package."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).parents[1]):
        if (folder / "configs" / "default.yaml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise InputError("There are no configs/ and notebooks/ here; work in a clone of the repository.")


@dataclass(frozen=True)
class Experiment:
    """One configuration on one data set; each stage is made when it is first asked for and kept in the cache folder.

    A stage's folder is named by the fingerprint of all that goes into it: settings, data and source code. It appears when it is
    complete; a training that was interrupted goes on where it stopped.
    """

    config: Config
    data: Path | None
    cache: Path
    run: Path
    checkpoint: Path | None = None

    @classmethod
    def open(
        cls, config: str = "", overrides: str = "", *, data: str = "", run: str = "reports/lab",
        cache: str = "cache", checkpoint: str = "",
    ) -> "Experiment":  # fmt: skip
        """Paths are taken from the root of the repository, wherever the notebook runs.

        config: a YAML file; empty: the configuration of the checkpoint where one is given, else configs/quick.yaml.
        overrides: "key=value", several separated by spaces.
        data: a data set folder; empty for the embedded walkers. run: where results and figures go.
        checkpoint: a run folder or a weights file to use instead of training, or files of the released program, "A.pt,B.pt".
        """
        os.chdir(root())
        changes, loaded = shlex.split(overrides), None
        if checkpoint and not config:
            from gaitlib.model.checkpoint import load_model, settings_of

            loaded = load_model(checkpoint)
            settings = resolve(settings_of(loaded[1], checkpoint), checkpoint)
            if changes:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "config.yaml"
                    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
                    settings = load_config(path, changes)
        else:
            settings = load_config(config or "configs/quick.yaml", changes)
        experiment = cls(settings, Path(data) if data else None, Path(cache), Path(run), Path(checkpoint) if checkpoint else None)
        if loaded:
            vars(experiment)["_loaded"] = loaded  # not read a second time
        return experiment

    # -- stages

    def _folders(self, name: str, key: object) -> tuple[Path, Path]:
        """Where a stage lies when it is complete, and until then."""
        folder = self.cache / f"{name}-{fingerprint(key)[:16]}"
        return folder, folder.with_suffix(".partial")

    def _stage(self, name: str, key: object, make: Callable[[Path], None], *, together: bool = False) -> Path:
        """together: all processes that torchrun started make it; otherwise the first does, and the others wait.

        Of several runs that need the same stage at once, one makes it. A line in cache/made.log says what was made and how long
        it took.
        """
        folder, partial = self._folders(name, key)
        first = int(os.environ.get("RANK", 0)) == 0
        if not folder.exists() and (first or together):
            with self._alone(folder.name) if first else nullcontext():
                if not folder.exists():
                    began = time.monotonic()
                    partial.mkdir(parents=True, exist_ok=True)
                    make(partial)
                    if first:
                        os.replace(partial, folder)
                        with (self.cache / "made.log").open("a") as log:
                            log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {folder.name} {time.monotonic() - began:.1f} s\n")
        while not folder.exists():
            time.sleep(0.1)
        return folder

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """No other process makes this stage meanwhile; a process that ends in any way, also by being killed, gives it free."""
        (self.cache / "locks").mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.cache / "locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"    waiting: another run makes {name}", flush=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @cached_property
    def dataset(self) -> GaitDataset:
        """The prepared data set, or the embedded walkers."""
        return GaitDataset.open(self.data) if self.data else self._walkers(faults=True)

    def _walkers(self, faults: bool) -> GaitDataset:
        """The embedded walkers, as a pose estimator sees them or without noise."""
        from gaitlib.data.walkers import make_walkers

        settings = self.config.walkers
        key = [settings.model_dump(), faults, code_fingerprint(["skeleton.py", "data/walkers.py", "data/dataset.py"])]

        def make(folder: Path) -> None:
            write_dataset(folder / "data", make_walkers(settings.subjects, settings.seed, faults=faults), name="walkers")

        return GaitDataset.open(self._stage("walkers" if faults else "truth", key, make) / "data")

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol that the configuration names."""
        from gaitlib.config import config_folder

        return Protocol.load(config_folder() / "protocols" / f"{self.config.protocol}.yaml")

    @cached_property
    def split(self) -> Split:
        """Who trains, validates and tests."""
        return self.protocol.split(self.dataset)

    @cached_property
    def test_walks(self) -> NormalizedWalks:
        return normalize(self.split.test.walks)

    def trained(self, watch=None) -> Path:
        """The folder with model.safetensors, state.pt, history.csv and logs/; or the checkpoint that was given.

        watch: a gaitlib.training.Watch, which is told what a training does where one is needed; by default, in a run of the
            notebooks, the run folder's progress.json.
        """
        if self.checkpoint:
            return self._converted or self.checkpoint
        from gaitlib.training import Report, train

        if not watch and "GAITLIB_HEADLESS" in os.environ:
            watch = Report(self.run)
        facts = {"config": self.config.model_dump(mode="json"), "data": self.dataset.fingerprint, "people": self._people}
        return self._stage(
            "training",
            self._training_key,
            lambda folder: train(self.config, self.split, folder, watch=watch, pictures=self._pictures, facts=facts),
            together=True,
        )

    def example(self, model) -> dict[str, np.ndarray]:
        """A validation walk, its reconstruction, its view exchanged, and what that camera saw: name -> float32 [T, 15, 2].

        Empty where the validation people have no such walks.
        """
        from gaitlib.data.preprocess import as_poses

        if not self._example_windows:
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
        """(view, other view, the windows of a walk, of it from the other view, of another person there), or ()."""
        from gaitlib.data.preprocess import opening_windows

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

    @cached_property
    def _converted(self) -> Path | None:
        """The folder with model.safetensors made of the released program's files; None where the checkpoint is our own."""
        from gaitlib.model.checkpoint import WEIGHTS, load_released, released_files, save_weights

        files = released_files(self.checkpoint)
        if not files:
            return None
        model, facts = load_released(files)

        def make(folder: Path) -> None:
            save_weights(folder / WEIGHTS, model, model.state_dict(), **facts)

        return self._stage("released", [[_file_fingerprint(file) for file in files], model.settings, facts], make)

    @cached_property
    def _training_key(self) -> list:
        settings = self.config.model_dump(mode="json", exclude={"evaluation", "walkers"})
        code = code_fingerprint(["skeleton.py", "data", "model", "evaluation", "training.py"])
        return [settings, self.dataset.fingerprint, self._people, self.protocol.gallery, self.protocol.probes, code]

    @property
    def _people(self) -> dict[str, list[str]]:
        """Who trains, and who chooses the checkpoint."""
        parts = {"train": self.split.train, "validation": self.split.validation.walks}
        return {name: sorted(part.index["subject"].unique()) for name, part in parts.items()}

    def forget_training(self) -> None:
        """Delete the training of this configuration from the cache, finished or not; one that is running is waited for."""
        folders = self._folders("training", self._training_key)
        with self._alone(folders[0].name):
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)

    def history(self) -> pd.DataFrame | None:
        """The training's history, a row each look at the validation people; None for a checkpoint that came without."""
        path = self._weights.parent / "history.csv"
        return pd.read_csv(path) if path.is_file() else None

    def keep_training(self) -> None:
        """Copy the checkpoint and the logs into the run folder."""
        from gaitlib.model.checkpoint import find_weights

        weights = find_weights(self.trained())
        target = self.run / "checkpoint"
        if weights.parent.resolve() == target.resolve():
            return
        target.mkdir(parents=True, exist_ok=True)
        for name in ("model.safetensors", "state.pt", "history.csv"):
            if (weights.parent / name).is_file():
                _copy(weights.parent / name, target / name)
        logs = weights.parent / "logs"
        shutil.rmtree(self.run / "logs", ignore_errors=True)
        if logs.is_dir():
            shutil.copytree(logs, self.run / "logs")

    @cached_property
    def model(self):
        """The trained network in eval mode, on the CPU."""
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple:
        from gaitlib.model.checkpoint import load_model

        return load_model(self.trained())

    @cached_property
    def _weights(self) -> Path:
        from gaitlib.model.checkpoint import find_weights

        return find_weights(self.trained())

    @cached_property
    def _evaluation_key(self) -> list:
        """All that decides what is measured on the test people."""
        code = code_fingerprint(["skeleton.py", "data", "model", "evaluation"])
        people = [self._people, sorted(self.split.test.walks.index["subject"].unique())]
        settings = [self.config.evaluation.model_dump(), self.protocol.gallery, self.protocol.probes, self.config.seed]
        return [settings, self.dataset.fingerprint, people, code, _file_fingerprint(self._weights)]

    def _learned(self) -> dict[str, list[str]]:
        """On whom the checkpoint was trained and chosen, as far as it says so; else those whom the protocol means.

        Raises InputError where they are to be tested on.
        """
        facts = self._loaded[1]
        learned = facts.get("people", self._people)
        seen = set(self.split.test.walks.index["subject"]) & {*learned["train"], *learned["validation"]}
        if seen and facts.get("data") == self.dataset.fingerprint:
            raise InputError(
                f"Protocol {self.config.protocol} tests {len(seen)} people on whom this checkpoint was trained or chosen, "
                f"such as {', '.join(sorted(seen)[:3])}; choose a protocol or data whose test people it has not seen."
            )
        return learned

    def _check_test(self, walks: GaitDataset) -> None:
        """Raise InputError where the test people are seen from one view only, or where no two views show the same."""
        if len(views := walks.views) < 2:
            raise InputError(
                f"Protocol {self.config.protocol}: gallery and probes of the test people are all seen from view {views[0]}; "
                "recognition is measured across views, which needs a second one."
            )
        try:
            example_walks(walks.index, views[0], views[-1])
        except InputError as reason:
            raise InputError(f"Protocol {self.config.protocol}, test people: {reason}") from None

    def check(self) -> None:
        """Raise InputError where protocol, data or checkpoint do not fit, before anything is trained or written."""
        from gaitlib.data.walkers import walkers_index

        split = self.split if self.data or self.checkpoint else None
        if not split:  # the walkers are not made for it
            nothing = np.empty((0, NUM_JOINTS, 2), np.float32)
            split = self.protocol.split(GaitDataset(walkers_index(self.config.walkers.subjects), nothing, nothing[..., 0]))
        self._check_test(split.test.walks)
        if self.checkpoint:
            self._learned()

    def embeddings(self) -> Embeddings:
        """The embedding of each test walk; each is encoded once."""
        settings = self.config.evaluation

        def make(folder: Path) -> None:
            found = embed_walks(self.model, self.test_walks, stride=settings.stride, mirrored=settings.mirrored, device=_device())
            found.save(folder / "embeddings.npz")

        folder = self._stage("embeddings", self._evaluation_key, make)
        return Embeddings(Embeddings.load(folder / "embeddings.npz").values, self.split.test.walks.index)

    def evaluate(self) -> Evaluation:
        """Rank the test walks and compute every number of metrics.json that embeddings alone decide.

        Raises InputError where the checkpoint is known to have been trained or chosen on people of the test.
        """
        test = self.split.test
        self._check_test(test.walks)
        facts, learned = self._loaded[1], self._learned()
        embeddings = self.embeddings()
        baseline = baseline_embeddings(normalize(self.split.train), self.test_walks)
        evaluation = evaluate(embeddings, baseline, test.gallery, test.probes, **self.draws)
        everybody = int(test.walks.index["subject"].nunique())
        fewer = {"verification_people": VERIFICATION_PEOPLE, "study_people": MOST_PEOPLE}
        evaluation.metrics["counts"] = {
            "people": everybody,
            **{name: most for name, most in fewer.items() if most < everybody},
            "training_people": len(learned["train"]),
            "validation_people": len(learned["validation"]),
            "gallery": int(test.gallery.sum()),
            "probes": {n: int(rows.sum()) for n, rows in test.probes.items()},
        }
        history = self.history()
        evaluation.metrics["iterations"] = facts.get("iteration") if history is None else int(history["iteration"].iloc[-1])
        return evaluation

    @property
    def draws(self) -> dict[str, int]:
        """How the people are drawn again for intervals: for every `repeats` and `seed`."""
        return {"repeats": self.config.evaluation.bootstrap, "seed": self.config.seed}

    @cached_property
    def _codes(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What the codes say of the walks of some training and some test people, each encoded once."""
        from gaitlib.evaluation.ablations import code_features

        stride = self.config.evaluation.stride
        return tuple(code_features(self.model, walks, stride=stride) for walks in self._few_normalized)

    @cached_property
    def _few(self) -> tuple[GaitDataset, GaitDataset]:
        """The walks of MOST_PEOPLE training and test people."""
        return tuple(walks.select(subject=_some_people(walks)) for walks in (self.split.train, self.split.test.walks))

    @cached_property
    def _few_normalized(self) -> tuple[NormalizedWalks, NormalizedWalks]:
        return tuple(normalize(walks) for walks in self._few)

    def _roles_of_few(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Gallery and probes among the test people of `_few`."""
        test = self.split.test
        few = test.walks.index["subject"].isin(self._few[1].index["subject"]).to_numpy()
        return test.gallery[few], {name: rows[few] for name, rows in test.probes.items()}

    def ablations(self) -> pd.DataFrame:
        """What recognition rests on, a row an ablation, MOST_PEOPLE test people at most: see evaluation/ablations.py.

        Columns: kind, name, rank1, rank1_same_view (probe set and "mean" -> share), ci95 and difference of the mean.
        """
        from gaitlib.evaluation.ablations import ABLATIONS, ablation_table, ablations

        settings, seed = self.config.evaluation, self.config.seed
        if not settings.studies:
            return pd.DataFrame()

        def make(folder: Path) -> None:
            rows = ablations(
                self.model, self._few_normalized[0], self._few[1], *self._roles_of_few(), self._codes, stride=settings.stride,
                mirrored=settings.mirrored, seed=seed, device=_device(),
            )  # fmt: skip
            rows = list(tqdm(rows, "ablations", ABLATIONS, disable="GAITLIB_HEADLESS" in os.environ))
            table = ablation_table(rows, **self.draws)
            _write(folder / "ablations.json", json.dumps(_no_nan(table)))

        folder = self._stage("ablations", self._evaluation_key, make)
        return pd.DataFrame(json.loads((folder / "ablations.json").read_text()))

    def scorecard(self) -> pd.DataFrame:
        """What can be read from each code and how invariant it is: a row a measure, see evaluation/disentanglement.py."""
        from gaitlib.evaluation.disentanglement import Measure, scorecard

        if not self.config.evaluation.studies:
            return pd.DataFrame()

        def make(folder: Path) -> None:
            gallery, probes = self._roles_of_few()
            found = scorecard(
                self.model, *self._few_normalized, gallery, np.any(list(probes.values()), axis=0),
                self._codes, **self.draws,
            )  # fmt: skip
            _write(folder / "scorecard.json", json.dumps(_no_nan([asdict(measure) for measure in found])))

        folder = self._stage("scorecard", self._evaluation_key, make)
        return pd.DataFrame(json.loads((folder / "scorecard.json").read_text()), columns=[f.name for f in fields(Measure)])

    def exchange(self) -> ExchangeErrors:
        """Errors of exchanged views over the test people, MOST_PEOPLE of them at most.

        The truth is the noise-free performance of the embedded walkers, and of other data what the cameras saw.
        Raises InputError where no two cameras saw the same moment.
        """
        train, walks = self._few_normalized
        truth = walks
        if not self.data:
            truth = normalize(self._walkers(faults=False).select(sequence=walks.index["sequence"].tolist()))
        side = min(self.dataset.views, key=lambda view: abs(float(view) - 90) if view.isdigit() else 0)
        return exchange_errors(self.model, walks, truth, mean_walks(train, side, self.model.window))

    def keep_results(
        self, evaluation: Evaluation, ablations: pd.DataFrame, scorecard: pd.DataFrame, exchange: ExchangeErrors | None
    ) -> None:
        """Write metrics.json, embeddings.npz, results.xlsx and config.yaml into the run folder."""
        from gaitlib.reports.excel import write_results

        metrics = evaluation.metrics | {
            "ablations": ablations.to_dict("records"),
            "scorecard": scorecard.to_dict("records"),
            "exchange": exchange.summary(**self.draws) if exchange else {},
        }
        self.run.mkdir(parents=True, exist_ok=True)
        evaluation.embeddings.save(self.run / "embeddings.npz")
        _write(self.run / "metrics.json", json.dumps(_no_nan(metrics), indent=1))
        config = self.config.model_dump(mode="json")
        facts = {k: v for k, v in self.provenance({}).items() if k not in ("start", "stage_seconds")}  # known at the end only
        _write(self.run / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        write_results(
            self.run / "results.xlsx", metrics=metrics, matrices=evaluation.matrices,
            baseline_matrices=evaluation.baseline_matrices, config=config, provenance=facts, left_out=self.left_out,
        )  # fmt: skip

    @property
    def left_out(self) -> list[dict]:
        """{"source", "reason"} of every walk that was not used."""
        return self.dataset.info.get("left_out", [])

    def provenance(self, stage_seconds: dict, start: datetime | None = None) -> dict:
        return provenance(
            config=self.config.model_dump(mode="json"), protocol=asdict(self.protocol), seed=self.config.seed,
            data_fingerprint=self.dataset.fingerprint, stage_seconds=stage_seconds, start=start,
        )  # fmt: skip


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _some_people(walks: GaitDataset) -> list[str]:
    """MOST_PEOPLE of a data set, spread evenly over their list."""
    people = walks.index["subject"].unique()
    return people[np.unique(np.linspace(0, len(people) - 1, min(MOST_PEOPLE, len(people))).round().astype(int))].tolist()


def _no_nan(value):
    """JSON has no NaN: what could not be measured is null."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_no_nan(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _file_fingerprint(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text)


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as part:
        shutil.copyfile(source, part)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """What is imported meanwhile finds that an optional module is not installed, unless it has been imported before."""
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]


def run_notebooks(
    run: Path, parameters: dict, chapters: tuple[str, ...] = CHAPTERS, again: str = "with --resume goes on from there"
) -> None:
    """Execute notebooks with papermill into the run folder and write its pages.

    run: reports/NAME. parameters: for all of the notebooks; each takes those it has. again: what the same command does after an
    interruption.
    Raises InputError before anything runs where a parameter is in no notebook, StageFailed where a notebook stops,
    Interrupted after Ctrl-C.
    """
    with _without("rfc3987_syntax"):  # checks addresses that no notebook has, and takes three seconds to import
        import papermill
    from papermill.exceptions import PapermillExecutionError

    from gaitlib.reports.html import notebook_html, write_index

    notebooks = {name: root() / "notebooks" / f"{name}.ipynb" for name in chapters}
    for path in notebooks.values():
        if not path.is_file():
            raise InputError(f"The notebook {path.name} is missing from {path.parent}.")
    taken = {name: set(papermill.inspect_notebook(path)) for name, path in notebooks.items()}
    if unknown := sorted(set(parameters) - set().union(*taken.values())):
        raise InputError(
            f"No notebook has the parameter {unknown[0]!r}; they have {', '.join(sorted(set().union(*taken.values())))}."
        )

    start, seconds = datetime.now().astimezone(), {}
    progress.begin(run)
    for number, (name, path) in enumerate(notebooks.items(), 1):
        print(f"[{number}/{len(notebooks)}] {name}", flush=True)
        chapter = name.partition("_")[2].replace("_", " ")
        progress.report(run, chapter=f"{number}/{len(notebooks)} {chapter}", seconds_left=None)
        began = time.monotonic()
        executed = run / f"{name}.ipynb"
        given = {k: v for k, v in parameters.items() if k in taken[name]}
        stopped = f"Stopped in notebook {name}; the same command {again}."
        if "02_training" in seconds and "checkpoint" in taken[name]:
            given["checkpoint"] = given["run"]  # what was trained a moment ago
        try:
            with _settled_kernels(), _sockets() as kernels:
                papermill.execute_notebook(
                    path, executed, given, kernel_name="python3", cwd=root(), progress_bar=False, log_output=False,
                    stdout_file=sys.stdout, config=kernels,
                )  # fmt: skip
        except PapermillExecutionError as error:
            if error.ename in ("KeyboardInterrupt", "Interrupted"):
                raise Interrupted(stopped) from None
            bad_input = error.ename == "InputError"
            where = f"Notebook {name}, cell {error.exec_count}"
            raise StageFailed(
                f"{where}: {'' if bad_input else error.ename + ': '}{error.evalue} (see {executed})", bad_input
            ) from None
        except KeyboardInterrupt:  # the kernel was asked to stop too
            raise Interrupted(stopped) from None
        except RuntimeError as error:  # the kernel died or did not start
            hint = "; a kernel that dies has mostly run out of memory" if "died" in str(error) else ""
            raise StageFailed(f"Notebook {name}: {error} (see {executed}){hint}", False) from None
        seconds[name] = time.monotonic() - began
        print(f"    {seconds[name]:.0f} s", flush=True)

    known = inspect.signature(Experiment.open).parameters
    experiment = Experiment.open(**{k: v for k, v in parameters.items() if k in known})
    _write(run / "provenance.json", json.dumps(experiment.provenance(seconds, start), indent=1))
    executed = [run / f"{name}.ipynb" for name in CHAPTERS if (run / f"{name}.ipynb").is_file()]
    for path in executed:
        notebook_html(path, path.with_suffix(".html"), f"{run.name}: {path.stem.partition('_')[2].replace('_', ' ')}")
    metrics = json.loads((run / "metrics.json").read_text()) if (run / "metrics.json").is_file() else {}
    write_index(
        run, metrics=metrics, config=experiment.config.model_dump(mode="json"),
        provenance=json.loads((run / "provenance.json").read_text()), left_out=experiment.left_out, chapters=executed,
    )  # fmt: skip
    progress.finish(run)


@contextmanager
def _sockets() -> Iterator:
    """Configuration of a kernel that talks through files in a folder of its own: several runs at once cannot collide.

    Without a folder they would be ./kernel-ipc-1 and so on for every kernel that is started here; ports collide now and then.
    What the kernel logs is not shown: after Ctrl-C that is a traceback about its closed socket.
    """
    from traitlets.config import Config as Configuration

    quiet = {"NotebookClient": {"extra_arguments": ["--log-level=CRITICAL"]}}
    if sys.platform == "win32":
        yield Configuration(quiet)
        return
    with tempfile.TemporaryDirectory(prefix="gaitlib-", ignore_cleanup_errors=True) as folder:
        yield Configuration({**quiet, "KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


@contextmanager
def _settled_kernels() -> Iterator[None]:
    """Environment of the kernels that are started meanwhile, where the user has not set it.

    Freed memory is kept (see training.keep_freed_memory). OpenMP threads that wait spin for some ten microseconds and then sleep:
    spinning on, they take the processor from other programs, which on a busy machine of two cores made a training step three
    times as long; sleeping at once, they wake too late for the second core to be of use.
    """
    settings = {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
        "GOMP_SPINCOUNT": "5000",
        "GAITLIB_HEADLESS": "1",  # nobody watches: no curves while it trains
    }
    ours = settings.keys() - os.environ.keys()
    os.environ.update({name: settings[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def run_experiment(
    config: str, overrides: list[str] = (), *, data: str = "", name: str = "", reports: str = "reports", cache: str = "cache",
    resume: bool = False, force: bool = False, chapters: tuple[str, ...] = CHAPTERS,
) -> Path:  # fmt: skip
    """The whole experiment: notebooks 01-04, or some of them, into reports/NAME/ with index.html; returns that folder.

    An existing run folder is an error unless `resume` (finished stages are used again) or `force` (the run folder and the
    training of this configuration are made anew).
    """
    settings = load_config(config, overrides)
    base = root()
    run = Path(reports) / (name or Path(config).stem)
    if run.is_file():
        raise InputError(f"{run} is a file; give another --name.")
    if is_taken(run) and not (resume or force):
        raise InputError(f"{run} exists; give --resume to finish or refresh it, --force to replace it, or another --name.")
    experiment = Experiment(settings, Path(data) if data else None, Path(cache), run)
    experiment.check()
    if force:
        experiment.forget_training()  # may have to wait for another run
        shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(run / "figures", ignore_errors=True)  # none stays that this run does not draw
    run.mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "metrics.json", "results.xlsx", "embeddings.npz", "provenance.json"):
        (run / name).unlink(missing_ok=True)  # those of the configuration before
    _write(run / "config.yaml", yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))

    def place(path: str | Path) -> str:
        return os.path.relpath(path, base) if Path(path).resolve().is_relative_to(base) else str(Path(path).resolve())

    run_notebooks(
        run.resolve(),
        {
            "config": place(run / "config.yaml"),
            "data": place(data) if data else "",
            "run": place(run),
            "cache": place(cache),
        },
        chapters,
    )
    return run
