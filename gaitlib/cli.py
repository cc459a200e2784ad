"""The `gaitlib` command. Every error is one sentence; --debug shows the traceback.

Exit code 2 for bad input, 1 for a failure, 130 after Ctrl-C.
"""

import difflib
import os
import shutil
import sys
import time
from pathlib import Path

import click

from gaitlib import InputError, __version__, sentence

#: The commands as `gaitlib --help` groups them.
_SECTIONS = {
    "Data": ("formats", "prepare", "walkers", "inspect", "export"),
    "Run": ("run", "train", "evaluate", "visualize", "embed", "export-model"),
    "Compare": ("compare", "grid"),
    "Identify": ("enroll", "identify", "forget"),
    "Housekeeping": ("runs", "open", "rerun", "clean"),
}


class _Sentence(click.ClickException):
    """An error of any kind, in one sentence, with its exit code."""

    def __init__(self, text: str, exit_code: int):
        super().__init__(text)
        self.exit_code = exit_code

    def show(self, file=None) -> None:
        click.echo(f"gaitlib: {self.message}", err=True)


class _Group(click.Group):
    def make_context(self, info_name, args, parent=None, **extra) -> click.Context:
        try:
            return super().make_context(info_name, args or ["--help"], parent, **extra)
        except click.UsageError as error:
            raise self._in_our_style(error) from None

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except click.UsageError as error:
            raise self._in_our_style(error) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort) as error:
            raise _Sentence(sentence(KeyboardInterrupt(*error.args)), 130) from None  # as shells have it
        except Exception as error:
            if context.params.get("debug"):
                raise
            raise _Sentence(sentence(error), 2 if getattr(error, "bad_input", False) else 1) from None

    def _in_our_style(self, error: click.UsageError) -> _Sentence:
        command = error.ctx.command_path if error.ctx else "gaitlib"
        said = error.format_message()
        return _Sentence(f"{said}{'' if said.endswith(('.', '?')) else '.'} See `{command} --help`.", error.exit_code)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for names in _SECTIONS.values() for name in names)
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self.commands[name].get_short_help_str(limit=1000)) for name in names])


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool):
    """Recognize people by how they walk, from 2D skeletons split into motion, body and view codes."""


def _configuration(context: click.Context, parameter: click.Parameter, given: str) -> str:
    """The configuration file at this path or, where there is none, the one of this name in configs/ of the clone."""
    if not given:
        return ""
    from gaitlib.config import config_folder

    folder = config_folder()
    found = [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("peers/*.yaml"))]
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    name = given.removeprefix("configs/").removesuffix(".yaml")
    if name in known and not os.path.isfile(given):
        return str(known[name])
    if os.path.exists(given):
        return given
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(Path(name).name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"configs/ has {', '.join(known)}."
    raise InputError(f"There is no configuration {given}; {hint}")


def _existing(context: click.Context, parameter: click.Parameter, given: str | Path) -> str | Path:
    """A file or folder, or several with commas between: what is missing is called missing before the work begins."""
    whole = str(given or "")
    for path in [] if os.path.exists(whole) else map(str.strip, whole.split(",")):
        if path and path != "pretrained" and not os.path.exists(path):
            raise InputError(f"There is no file or folder {path}.")
    return given


def _free(path: Path, force: bool) -> None:
    """Raise InputError if a file cannot be written, or if it exists and must not be replaced."""
    from gaitlib.files import check_writable

    check_writable(path)
    if path.exists() and not force:
        raise InputError(f"{path} exists; give --force to replace it, or another --out.")


def _checked_name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    from gaitlib.files import check_name

    return check_name(name, "--name") if name is not None else ""


def _checked_share(context: click.Context, parameter: click.Parameter, share: float) -> float:
    if not 0 < share <= 0.5:  # NaN too, which click.FloatRange lets pass
        raise InputError(f"--far {share:g} cannot be used; give the share of strangers, above 0 and up to 0.5, such as 0.01.")
    return share


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _reports() -> Path:
    """reports/ of the clone, from whichever of its folders the command is started."""
    from gaitlib.config import workspace

    return workspace() / "reports"


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _give(context: click.Context, parameter: click.Parameter, name: str) -> None:
    from gaitlib import networks

    networks.give(name)
    context.meta["network"] = name


def _check_named(network: str) -> None:
    """Raise InputError where --network was given, but the configuration names none or another."""
    from gaitlib.networks import short

    given = click.get_current_context().meta.get("network")
    if given and short(given) != short(network):
        raise InputError(f"The configuration does not name --network {given}; to use it, add --set model.network={given}.")


_config = click.argument("config", callback=_configuration)
_set = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the configuration.")
_data = click.option(
    "--data", default="", metavar="DIR", callback=_existing, help="A data set folder; default: synthetic walkers."
)
_name = click.option("--name", callback=_checked_name, help="Name of the run folder in reports/.")
_network = click.option(
    "--network", default="", metavar="FILE.py:CLASS", callback=_give, expose_value=False, is_eager=True,
    help="Run the code of this network, which is not part of gaitlib, if a run or checkpoint names it.",
)  # fmt: skip
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_force = click.option("--force", is_flag=True, help="Replace an existing file.")


def _checkpoint_of_gallery(command):
    text = "The model that turns walks into embeddings: a run folder or a weights file."
    option = click.option("--checkpoint", default="pretrained", show_default=True, metavar="RUN", callback=_existing, help=text)
    return option(_network(command))


@main.command(epilog="Example: gaitlib run quick --set training.iterations=200 --name short")
@_config
@_set
@_data
@_name
@_network
@click.option("--resume", is_flag=True, help="Finish or refresh an existing run; finished stages are reused.")
@click.option("--force", is_flag=True, help="Replace an existing run and train from scratch.")
def run(config, overrides, data, name, resume, force):
    """Run notebooks 01-04 and write the report to reports/NAME/.

    CONFIG is a YAML file, or the name of one in configs/, such as quick.
    """
    from gaitlib.config import load_config
    from gaitlib.notebooks import run_experiment
    from gaitlib.runs import write_runs_page

    began = time.monotonic()
    settings = load_config(config, list(overrides))
    _check_named(settings.model.network)
    folder = run_experiment(settings, name or Path(config).stem, data=data, resume=resume, force=force)
    write_runs_page(_reports())
    _say_found(folder, time.monotonic() - began)


@main.command(epilog="Example: torchrun --nproc-per-node 2 --no-python gaitlib train casia_b --data data/casia_b")
@_config
@_set
@_data
@_network
def train(config, overrides, data):
    """Only train; `gaitlib run` with the same configuration and data then uses the result.

    Under torchrun, all processes share each batch, one per GPU, on one machine or on several that see the same folder. An
    interrupted training continues where it stopped.
    """
    from gaitlib.config import load_config, workspace
    from gaitlib.experiment import Experiment
    from gaitlib.stages import Stages

    settings = load_config(config, list(overrides))
    _check_named(settings.model.network)
    folder = Experiment(settings, data, Stages(workspace() / "cache"), Path()).trained()
    if int(os.environ.get("RANK", 0)) == 0:
        click.echo(f"The training is in {os.path.relpath(folder)}")


@main.command(epilog="Example: gaitlib prepare kgbd_passes.npz --format kgbd --cameras 0:180:18 --out data/kgbd-11v")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", default="auto", help="A name from `gaitlib formats`, or auto.")
@click.option("--cameras", default="sensor", show_default=True, help="For 3D sources: sensor, or first:last:step in degrees.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The data set folder to write.")
@click.option("--layout", default="", metavar="NAME", help="Keypoint layout, such as COCO17; default: detected.")
@click.option("--pattern", default="", help='How paths name walks: "{subject}/{condition}-{run}/{view}", {any} for the rest.')
@click.option("--names", metavar="FILE.csv", help="A table of path, subject, condition, run, view, instead of --pattern.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that read files.")
@click.option("--strict", is_flag=True, help="Stop at the first unusable file; default: list it and go on.")
@click.option("--fps", type=float, help="Frame rate of 2D sources; default: that of the clip, else 25.")
@click.option("--person", default="", metavar="N|largest|all",
              help="Whom to follow among several people; default: long, large and clear in view, and on the way.")  # fmt: skip
@click.option("--from", "start", type=float, metavar="SECONDS", help="Where to start in a clip.")
@click.option("--to", "stop", type=float, metavar="SECONDS", help="Where to stop in a clip.")
@click.option("--model", default="", metavar="FILE.task", help="For clips: a MediaPipe pose model; default: from `make video`.")
@click.option("--overlay", is_flag=True, help="For clips: write each to OUT/followed/ with the tracked skeleton drawn in.")
@click.option("--repair", default="", metavar="STEPS", help="Such as confidence=0.2,flips,spikes=0.7,gaps=5; default: none.")
def prepare(source, out, **options):
    """Turn pose files or video clips of walking people into a data set folder.

    Subject, condition, run and view come from paths like 001/nm-01/090 or 001-nm-01-090, from --pattern, or from --names.
    Repairs run in the order given, and the changes are counted: confidence=C marks joints below C as missing, flips swaps left
    and right back, spikes=S marks joints that jump by S torso lengths as missing, gaps=N interpolates up to N frames.
    """
    from tqdm import tqdm

    from gaitlib.poses.prepare import prepare as make

    def progress(walks):
        return tqdm(walks, unit="walk", disable=not sys.stderr.isatty())

    _say(make(source, out, say=click.echo, progress=progress, **options), out)


@main.command("export", epilog="Example: gaitlib export data/mine --format opengait --out peers/mine")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), callback=_existing)
@click.option("--format", "format_name", required=True, help="opengait, gaitgraph or csv.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
def export_folder(folder, format_name, out):
    """Write a data set in the format of another program, to run that program on the same walks."""
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.poses.export import export

    count = export(GaitDataset.open(folder), format_name, out)
    click.echo(f"{out}: {count} walks")


@main.command("inspect", epilog="Example: gaitlib inspect data/walkers --protocol walkers --findings look_at.csv")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path), callback=_existing)
@click.option("--window", default=64, show_default=True, type=click.IntRange(1), help="List walks shorter than this many frames.")
@click.option("--protocol", default="", help="A name in configs/protocols/; people and walks it needs but DIR lacks are listed.")
@click.option("--findings", type=click.Path(path_type=Path), help="A .csv to write: every flagged walk, and why.")
def inspect_folder(folder, window, protocol, findings):
    """Count the walks of a data set and flag what a reviewer would question."""
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.data.protocol import Protocol
    from gaitlib.files import check_writable
    from gaitlib.poses.inspect import inspect
    from gaitlib.reports.excel import safe_text

    if findings:
        check_writable(findings)
    dataset = GaitDataset.open(folder)
    chosen = Protocol.named(protocol) if protocol else None
    found = inspect(dataset, window=window, protocol=chosen)
    click.echo(found.to_text())
    if findings:
        found.findings.map(lambda cell: safe_text(str(cell))).to_csv(findings, index=False)
        click.echo(f"\n{findings}: {len(found.findings)} lines")


@main.command()
def formats():
    """List the formats that can be read, and how their files are laid out.

    Example: gaitlib formats
    """
    from gaitlib.poses.formats import FORMATS

    for form in FORMATS.values():
        click.secho(f"{form.name}: {form.summary}", bold=True)
        click.echo("".join(f"    {line}\n" for line in form.files.strip().splitlines()))


@main.command(epilog="Example: gaitlib walkers --subjects 124 --seed 0 --out data/walkers")
@click.option("--subjects", required=True, type=click.IntRange(1, 9999), help="How many people; 110 walks each.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another seed makes other people.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The data set folder to write.")
def walkers(subjects, seed, out):
    """Make a synthetic data set of walking people, laid out like CASIA-B."""
    from tqdm import tqdm

    from gaitlib.data.dataset import write_dataset
    from gaitlib.data.walkers import make_walkers

    progress = tqdm(make_walkers(subjects, seed), total=subjects * 110, unit="walk", disable=not sys.stderr.isatty())
    notes = {"walkers": {"subjects": subjects, "seed": seed}}
    _say(write_dataset(out, progress, name=f"walkers, seed {seed}", notes=notes), out)


def _say(dataset, out) -> None:
    index = dataset.index
    click.echo(
        f"{out}: {len(dataset)} walks of {index['subject'].nunique()} people in {index['view'].nunique()} views, "
        f"{int(index['frames'].sum())} frames"
    )
    for said in dataset.preparation[:12]:
        click.echo(f"  {said}")
    left_out = dataset.info["left_out"]
    for entry in left_out[:10]:
        click.echo(f"  left out: {entry['source']}: {entry['reason']}")
    if len(left_out) > 10:
        click.echo(f"  ... and {len(left_out) - 10} more; all of them are in {out / 'dataset.json'}")


@main.command(epilog="Example: gaitlib embed reports/quick data/walkers --out walks.npz")
@click.argument("run", callback=_existing)
@click.argument("data", callback=_existing)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .npz file to write.")
@_network
@_force
def embed(run, data, out, force):
    """Write the embedding of every walk in a data set.

    RUN is a run folder, a weights file, or pretrained; DATA is a data set folder.
    """
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.data.preprocess import normalize
    from gaitlib.evaluation.embedding import embed_walks
    from gaitlib.model.checkpoint import evaluation_of, load_model

    _free(out, force)
    model, facts = load_model(run)
    dataset, settings = GaitDataset.open(data), evaluation_of(facts, run)
    found = embed_walks(model, normalize(dataset), stride=settings.stride, mirrored=settings.mirrored, device=_device())
    found.save(out)
    click.echo(f"{out}: {len(found.values)} walks, {found.values.shape[1]} numbers each")


@main.command(epilog="Example: gaitlib enroll family.gallery data/mine")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@_checkpoint_of_gallery
@click.option("--as", "subject", default="", metavar="NAME", help="Whose walks these are; default: as their paths say.")
@click.option("--keep-poses", is_flag=True, help="Keep a short piece of each walk, to show beside the walks to identify.")
def enroll(gallery, source, checkpoint, subject, keep_poses):
    """Add people to a gallery file, which is created if it does not exist.

    SOURCE is a data set folder, a clip, or other files that `gaitlib prepare` reads. Embeddings that identify people are
    biometric data: protect the file as you would fingerprints; `gaitlib forget` deletes a person.
    """
    from tqdm import tqdm

    from gaitlib.data.preprocess import normalize
    from gaitlib.files import check_writable
    from gaitlib.gallery import Gallery
    from gaitlib.poses.prepare import as_dataset

    check_writable(gallery)
    if gallery.exists():  # report a damaged gallery before reading clips
        with Gallery(gallery, checkpoint):
            pass
    with as_dataset(source, subject=subject, say=click.echo) as dataset, Gallery(gallery, checkpoint, create=True) as known:
        walks = normalize(dataset)
        people = known.enroll(walks, _device(), keep_poses=keep_poses)
        count = walks.index["subject"].nunique()
        for _ in tqdm(people, total=count, unit="person", disable=not sys.stderr.isatty()):
            pass
        found = known.people()
    walks = _counted(found["walks"].sum(), "walk", "walks")
    click.echo(f"{gallery}: {walks} of {_counted(len(found), 'person', 'people')}")
    if len(found) < 10:
        click.echo("With fewer than ten people enrolled, many of their walks will not be identified (docs/identification.md).")


@main.command(epilog="Example: gaitlib identify family.gallery clip.mp4")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@_checkpoint_of_gallery
@click.option("--far", default=0.01, show_default=True, callback=_checked_share, metavar="SHARE",
              help="False alarm rate: the share of strangers that may be mistaken for somebody, up to 0.5.")  # fmt: skip
@_json
@click.option("--page", type=click.Path(path_type=Path), help="An .html page to write, on which more walks can be identified.")
def identify(gallery, source, checkpoint, far, as_json, page):
    """Say who in a gallery each walk belongs to, or that it is nobody enrolled.

    SOURCE is a data set folder, a clip, or other files that `gaitlib prepare` reads. How often a stranger comes this close is
    measured on the enrolled people: each is a stranger to the gallery without them.
    """
    import orjson
    from tabulate import tabulate

    from gaitlib.data.preprocess import normalize
    from gaitlib.files import check_writable
    from gaitlib.gallery import Gallery
    from gaitlib.poses.prepare import as_dataset
    from gaitlib.reports.identified import answers_table, note, write_identified

    if page:
        check_writable(page)
    say = (lambda _: None) if as_json else click.echo
    with Gallery(gallery, checkpoint) as known, as_dataset(source, subject="asked", say=say) as dataset:
        walks = normalize(dataset)
        found = known.identify(walks, far, _device())
        if page:
            write_identified(page, known, walks, found)
    if as_json:
        said = {"far": found.far, "strangers": found.strangers, "answers": found.answers}
        click.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(tabulate(answers_table(found), headers="keys", tablefmt="plain", showindex=False, disable_numparse=True))
        click.echo(f"\n{note(found)}")
        if page:
            click.echo(f"The page is {page}.")


@main.command(epilog="Example: gaitlib forget family.gallery anna")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("person")
@_checkpoint_of_gallery
def forget(gallery, person, checkpoint):
    """Delete a person from a gallery and overwrite their data."""
    from gaitlib.gallery import Gallery

    with Gallery(gallery, checkpoint) as known:
        count = known.forget(person)
    click.echo(f"{gallery}: {_counted(count, 'walk', 'walks')} of {person} deleted")
    click.echo("Poses read from clips remain in cache/ until you run `gaitlib clean`.")


@main.command(epilog="Example: gaitlib export-model pretrained --out model.onnx")
@click.argument("run", callback=_existing)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .onnx file to write.")
@click.option("--format", type=click.Choice(["onnx"]), default="onnx", show_default=True, expose_value=False)
@_network
@_force
def export_model(run, out, force):
    """Write a network as an ONNX graph: normalized windows in, embeddings and codes out.

    RUN is a run folder, a weights file, or pretrained. docs/model_export.md describes inputs and outputs.
    """
    from gaitlib.model.export import export_onnx

    _free(out, force)
    frames = export_onnx(run, out)
    click.echo(f"{out}: windows of {frames} frames, {out.stat().st_size / 1e6:.1f} MB")


def _say_found(folder: Path, seconds: float) -> None:
    """What a run found, how long it took, and where its page is."""
    from gaitlib.reports.run import Run
    from gaitlib.reports.terminal import duration, headline

    if found := headline(Run(folder).metrics):
        click.echo(f"\n{found}\n")
    click.echo(f"Finished in {duration(seconds)}.")
    _say_where(folder)


def _say_where(folder: Path) -> None:
    click.echo(f"The report is {os.path.relpath(folder / 'index.html')}.")


def _alone(chapter: str, checkpoint: str, data: str, name: str, overrides: tuple[str, ...], other_people: bool):
    """Run one notebook on a given checkpoint; what is wrong is reported before anything is written."""
    from gaitlib.experiment import Experiment
    from gaitlib.files import is_taken
    from gaitlib.notebooks import run_notebooks
    from gaitlib.stages import Stages

    began = time.monotonic()
    run = _reports() / (name or f"{Path(checkpoint).stem}-{chapter.partition('_')[2]}")
    if is_taken(run):
        raise InputError(f"{os.path.relpath(run)} exists; give another --name.")
    places = {"data": data, "stages": Stages(_reports().parent / "cache"), "run": run}
    experiment = Experiment.of_checkpoint(checkpoint, overrides, other_people=other_people, **places)
    experiment.check()
    if chapter == "04_visualization":
        experiment.check_codes()
    try:
        run_notebooks(experiment, [chapter], "starts again, reusing what it has computed")
    except KeyboardInterrupt:
        shutil.rmtree(run, ignore_errors=True)  # it was empty
        raise
    _say_found(run, time.monotonic() - began)


def _on_a_checkpoint(command):
    """The options of commands that run one notebook."""
    files = "A run folder, a weights file, or the files of the released program: autoencoder.pt,recognizer.pt."
    others = "Test people who share a name with training people are different people."
    checkpoint = click.option("--checkpoint", required=True, metavar="RUN_OR_FILES", callback=_existing, help=files)
    return checkpoint(_data(_name(_set(_network(click.option("--other-people", is_flag=True, help=others)(command))))))


@main.command(epilog="Example: gaitlib evaluate --checkpoint reports/quick --data data/walkers --name other-people")
@_on_a_checkpoint
def evaluate(**options):
    """Run notebook 03 alone, on an existing checkpoint."""
    _alone("03_evaluation", **options)


@main.command(epilog="Example: gaitlib visualize --checkpoint reports/quick --name pictures")
@_on_a_checkpoint
def visualize(**options):
    """Run notebook 04 alone, on an existing checkpoint."""
    _alone("04_visualization", **options)


@main.command(epilog="Example: gaitlib compare reports/published-0,reports/published-1 reports/beyond-0,reports/beyond-1")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@_name
def compare(runs, name):
    """Compare runs with the first one, on the same people, in one page: reports/NAME/.

    Put commas between runs that differ only in the seed; they count as one.
    """
    from gaitlib.reports.compare import compare

    click.echo(f"The page is {os.path.relpath(compare(runs, _reports() / (name or 'compared')))}.")


@main.command(epilog="Example: gaitlib grid configs/grids/smoke.yaml --workers 2")
@click.argument("grid_file", metavar="GRID.yaml")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Parallel runs on this machine.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="A dask scheduler whose workers run the points instead.")
@click.option("--resume", is_flag=True, help="Complete an existing grid; finished points stay.")
@click.option("--config", "base", default="", metavar="CONFIG", callback=_configuration, help="Replaces the base of the file.")
@_set
@_data
@_name
@_network
def grid(grid_file, workers, scheduler, resume, base, overrides, data, name):
    """Run every point of a grid file as `gaitlib run` would, and compare all of them in one page.

    The points go to reports/NAME/POINT/. One that fails does not stop the others. After Ctrl-C, a crash or a failure, the same
    command with --resume completes the grid.
    """
    from gaitlib.grid import DONE, run_grid
    from gaitlib.runs import write_runs_page
    from gaitlib.stages import StageFailed

    changed = {"base": base, "data": data, "overrides": list(overrides)}
    folder, points = run_grid(grid_file, workers=workers, scheduler=scheduler, resume=resume, name=name, **changed)
    write_runs_page(_reports())
    failed = [point for point in points if point.state != DONE]
    _say_where(folder)
    if failed:
        raise StageFailed(f"{len(failed)} of {len(points)} points did not finish; the first, {failed[0].name}: {failed[0].error}")


@main.command(epilog="Example: gaitlib rerun reports/quick")
@click.argument("run")
@_data
@_name
@_network
def rerun(run, data, name):
    """Repeat a run from its folder alone, without the cache, and say whether the numbers are the same.

    Exit code 0 if metrics.json is the same, 1 if a number differs. The data set is found in data/ by its fingerprint, or given
    with --data.
    """
    from gaitlib.reports.run import Run
    from gaitlib.runs import circumstances, rerun, write_runs_page

    again, differing = rerun(run, data=data, name=name)
    _say_where(again.folder)
    write_runs_page(_reports())
    for line in circumstances(Run(Path(run)), again):
        click.echo(f"  changed since: {line}")
    for line in differing:
        click.echo(f"  {line}")
    click.echo(f"{len(differing)} numbers differ." if differing else "All numbers are the same.")
    sys.exit(1 if differing else 0)


@main.command(epilog="Example: gaitlib runs protocol=walkers 'smoke/*'")
@click.argument("words", nargs=-1)
@_json
def runs(words, as_json):
    """List the runs in reports/ with their size on disk, and write reports/index.html.

    WORDS select runs: key=value of the configuration, or part of a name.
    """
    import orjson

    from gaitlib.reports.terminal import facts, listing
    from gaitlib.runs import find_runs, megabytes, size, write_runs_page

    sizes = {run: size(run.folder) for run in find_runs(_reports()) if run.matches(words)}
    if as_json:
        rows = [facts(run) | {"bytes": count} for run, count in sizes.items()]
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    if not sizes:
        click.echo("No run in reports/" + (f" matches {' '.join(words)}." if words else "."))
        return
    click.echo(listing({run: megabytes(count) for run, count in sizes.items()}))
    cache = megabytes(size(_reports().parent / "cache"))
    click.echo(f"{_counted(len(sizes), 'run', 'runs')}, {megabytes(sum(sizes.values()))}; cache/ {cache}")
    click.echo(f"All of them on one page: {os.path.relpath(write_runs_page(_reports()))}")


@main.command("open", epilog="Example: gaitlib open quick")
@click.argument("run")
def open_page(run):
    """Open the page of a run in the browser.

    RUN is its name in reports/, or its folder.
    """
    import webbrowser

    from gaitlib.runs import find_page

    page = find_page(run, _reports())
    is_open = webbrowser.open(page.absolute().as_uri())
    click.echo(f"{os.path.relpath(page)}{'' if is_open else ' (no browser could be opened here)'}")


@main.command(epilog="Example: gaitlib clean --keep-best")
@click.option("--keep-best", is_flag=True, help="Also delete weights, except of the best run of each data set and protocol.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(keep_best, yes):
    """Delete cached stages, which are recomputed when needed; the pages and numbers of runs always stay.

    The best run is the one with the highest rank-1 on the validation people. `gaitlib rerun` repeats runs without weights.
    """
    from gaitlib.runs import delete, megabytes, size, what_can_go
    from gaitlib.stages import Stages

    stages = Stages(_reports().parent / "cache")
    going = what_can_go(_reports(), stages, keep_best=keep_best)
    sizes = {path: size(path) for path in going}
    for path in going:
        click.echo(f"{megabytes(sizes[path]):>12}  {os.path.relpath(path)}")
    if not going:
        click.echo("There is nothing to delete.")
        return
    if yes or click.confirm(f"Delete {megabytes(sum(sizes.values()))}?"):
        deleted = [path for path in going if delete(path, stages)]
        for path in going:
            if path not in deleted:
                click.echo(f"  now in use, kept: {os.path.relpath(path)}")
        click.echo(f"Deleted {megabytes(sum(sizes[path] for path in deleted))}.")


@main.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name")
def point(folder, name):
    """Run one point of a grid; `gaitlib grid` starts these."""
    from gaitlib.grid import run_point

    run_point(folder, name)


if __name__ == "__main__":
    main(prog_name="gaitlib")
