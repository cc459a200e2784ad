"""The `gaitlib` command. Errors are one sentence; --debug shows the traceback.

Exit code 2 for bad input, 1 for a failure, 130 after Ctrl-C.
"""

import os
import shutil
import sys
from pathlib import Path

import click

from gaitlib import InputError, __version__, sentence


class _Group(click.Group):
    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            said, code = sentence(error), 130  # as shells have it
        except Exception as error:
            if context.params.get("debug"):
                raise
            said, code = sentence(error), 2 if getattr(error, "bad_input", False) else 1
        click.echo(f"gaitlib: {said}", err=True)
        sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool):
    """Gait recognition from 2D skeletons by motion, body and view codes."""


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


_set = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the configuration.")
_data = click.option("--data", default="", metavar="DIR", help="A data set folder; without it, the embedded walkers.")
_checkpoint_of_gallery = click.option(
    "--checkpoint", default="pretrained", show_default=True, metavar="RUN", help="What describes the walks."
)
_name = click.option("--name", callback=_checked_name, help="The run folder's name in reports/.")


@main.command(epilog="Example: gaitlib run configs/quick.yaml --name quick --set training.iterations=200")
@click.argument("config")
@_set
@_data
@_name
@click.option("--resume", is_flag=True, help="Finish or refresh an existing run; finished stages are used again.")
@click.option("--force", is_flag=True, help="Replace an existing run and train anew.")
def run(config, overrides, data, name, resume, force):
    """Run notebooks 01-04 on CONFIG and write the report into reports/NAME/."""
    from gaitlib.config import load_config
    from gaitlib.notebooks import run_experiment
    from gaitlib.runs import write_runs_page

    settings = load_config(config, list(overrides))
    folder = run_experiment(settings, name or Path(config).stem, data=data, resume=resume, force=force)
    write_runs_page(_reports())
    _say_where(folder)


@main.command(epilog="Example: torchrun --nproc-per-node 2 --no-python gaitlib train configs/casia_b.yaml --data data/casia_b")
@click.argument("config")
@_set
@_data
def train(config, overrides, data):
    """Only train CONFIG, also with several processes; `gaitlib run` with the same configuration and data then uses it.

    Started by torchrun, as many processes as it is told share each batch, one a GPU, on one machine or several that see the same
    folder. What was interrupted goes on where it stopped.
    """
    from gaitlib.config import load_config, workspace
    from gaitlib.experiment import Experiment
    from gaitlib.stages import Stages

    settings = load_config(config, list(overrides))
    folder = Experiment(settings, data, Stages(workspace() / "cache"), Path()).trained()
    if int(os.environ.get("RANK", 0)) == 0:
        click.echo(f"The training is in {os.path.relpath(folder)}")


@main.command(epilog="Example: gaitlib prepare kgbd_passes.npz --format kgbd --cameras 0:180:18 --out data/kgbd-11v")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", default="auto", help="A name from `gaitlib formats`, or auto.")
@click.option("--cameras", default="sensor", show_default=True, help="For 3D sources: sensor, or first:last:step in degrees.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The data set folder to write.")
@click.option("--layout", default="", metavar="NAME", help="Keypoints of the files, such as COCO17; default: told from them.")
@click.option("--pattern", default="", help='Where the names stand in a path: "{subject}/{condition}-{run}/{view}", {any}.')
@click.option("--names", metavar="FILE.csv", help="A table of path, subject, condition, run, view, in place of a pattern.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that read.")
@click.option("--strict", is_flag=True, help="Stop at the first file that cannot be used; default: list it and go on.")
@click.option("--fps", type=float, help="Frames a second of 2D sources; default: those of a clip, else 25.")
@click.option("--person", default="", metavar="N|largest|all", help="Whom of several; default: long, large, clear, on the way.")
@click.option("--from", "start", type=float, metavar="SECONDS", help="Where to begin in a clip.")
@click.option("--to", "stop", type=float, metavar="SECONDS", help="Where to end in a clip.")
@click.option("--model", default="", metavar="FILE.task", help="Of clips: a model of MediaPipe's; default: that of `make video`.")
@click.option("--overlay", is_flag=True, help="Of clips: write each into OUT/followed/ with the skeleton of who was followed.")
@click.option("--repair", default="", metavar="STEPS", help="Such as confidence=0.2,flips,spikes=0.7,gaps=5; default: nothing.")
def prepare(source, out, **options):
    """Turn files of poses, or clips of people who walk, into a data set folder.

    Subject, condition, run and view come from paths like 001/nm-01/090 or 001-nm-01-090, from --pattern, or from --names.
    Repairs are made in the order given, and what each has changed is counted: confidence=C takes joints below C for missing,
    flips undoes exchanges of left and right, spikes=S takes joints that jump by S torso lengths for missing, gaps=N bridges up
    to N frames.
    """
    from tqdm import tqdm

    from gaitlib.poses.prepare import prepare as make

    def progress(walks):
        return tqdm(walks, unit="walk", disable=not sys.stderr.isatty())

    _say(make(source, out, say=click.echo, progress=progress, **options), out)


@main.command("export", epilog="Example: gaitlib export data/mine --format opengait --out peers/mine")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "format_name", required=True, help="opengait, gaitgraph or csv.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
def export_folder(folder, format_name, out):
    """Write the data set DIR in the format of another program, so that a peer can be run on the same walks."""
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.poses.export import export

    count = export(GaitDataset.open(folder), format_name, out)
    click.echo(f"{out}: {count} walks")


@main.command("inspect", epilog="Example: gaitlib inspect data/walkers --protocol walkers --findings look_at.csv")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--window", default=64, show_default=True, type=click.IntRange(1), help="Frames; shorter walks are listed.")
@click.option("--protocol", default="", help="A name in configs/protocols/: who lacks in it is listed too.")
@click.option("--findings", type=click.Path(path_type=Path), help="A .csv to write: every walk to look at, and why.")
def inspect_folder(folder, window, protocol, findings):
    """Count what the data set DIR holds, and say what a reviewer would ask about."""
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
    """List what can be read, with the layout of each. Example: gaitlib formats"""
    from gaitlib.poses.formats import FORMATS

    for form in FORMATS.values():
        click.secho(f"{form.name}: {form.summary}", bold=True)
        click.echo("".join(f"    {line}\n" for line in form.files.strip().splitlines()))


@main.command(epilog="Example: gaitlib walkers --subjects 124 --seed 0 --out data/walkers")
@click.option("--subjects", required=True, type=click.IntRange(1, 9999), help="How many people; each walks 110 times.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The data set folder to write.")
def walkers(subjects, seed, out):
    """Make synthetic people who walk, laid out as CASIA-B."""
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
@click.argument("run")
@click.argument("data")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .npz to write.")
def embed(run, data, out):
    """Give every walk of the data set DATA its vector by the checkpoint of RUN."""
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.data.preprocess import normalize
    from gaitlib.evaluation.embedding import embed_walks
    from gaitlib.files import check_writable
    from gaitlib.model.checkpoint import evaluation_of, load_model

    check_writable(out)
    model, facts = load_model(run)
    dataset, settings = GaitDataset.open(data), evaluation_of(facts, run)
    found = embed_walks(model, normalize(dataset), stride=settings.stride, mirrored=settings.mirrored, device=_device())
    found.save(out)
    click.echo(f"{out}: {len(found.values)} walks, {found.values.shape[1]} numbers each")


@main.command(epilog="Example: gaitlib enroll family.gallery data/mine")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@_checkpoint_of_gallery
@click.option("--as", "subject", default="", metavar="NAME", help="All walks are of this person; default: as their paths say.")
@click.option("--keep-poses", is_flag=True, help="Keep a moment of each walk, to be shown beside those who are asked about.")
def enroll(gallery, source, checkpoint, subject, keep_poses):
    """Add the people of SOURCE to GALLERY, one file, which is made where it is missing.

    SOURCE: a data set folder, or a clip or other files that `gaitlib prepare` reads. Numbers that recognize people are biometric
    data: keep the file as you would keep fingerprints; `gaitlib forget` deletes a person.
    """
    from tqdm import tqdm

    from gaitlib.data.preprocess import normalize
    from gaitlib.files import check_writable
    from gaitlib.gallery import Gallery
    from gaitlib.poses.prepare import as_dataset

    check_writable(gallery)
    if gallery.exists():  # what is wrong with it is said before clips are read
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
        click.echo("With fewer than ten people enrolled, many of their walks are answered with nobody (docs/identification.md).")


@main.command(epilog="Example: gaitlib identify family.gallery clip.mp4")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@_checkpoint_of_gallery
@click.option("--far", default=0.01, show_default=True, callback=_checked_share, metavar="SHARE",
              help="The share of strangers that may be taken for somebody, up to 0.5.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--page", type=click.Path(path_type=Path), help="An .html page to write, which also takes further walks.")
def identify(gallery, source, checkpoint, far, as_json, page):
    """Say for each walk of SOURCE who of GALLERY it is, or nobody.

    SOURCE: a data set folder, or a clip or other files that `gaitlib prepare` reads. How often a stranger comes as near is
    measured on the enrolled people, each of whom is a stranger to a gallery without them.
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
            click.echo(f"The page is {page}")


@main.command(epilog="Example: gaitlib forget family.gallery anna")
@click.argument("gallery", type=click.Path(path_type=Path))
@click.argument("person")
@_checkpoint_of_gallery
def forget(gallery, person, checkpoint):
    """Delete PERSON from GALLERY, and overwrite what was known of them."""
    from gaitlib.gallery import Gallery

    with Gallery(gallery, checkpoint) as known:
        count = known.forget(person)
    click.echo(f"{gallery}: {_counted(count, 'walk', 'walks')} of {person} deleted")
    click.echo("Poses of clips stay in cache/ until `gaitlib clean` deletes them.")


@main.command(epilog="Example: gaitlib export-model pretrained --out model.onnx")
@click.argument("run")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .onnx file to write.")
@click.option("--format", type=click.Choice(["onnx"]), default="onnx", show_default=True, expose_value=False)
def export_model(run, out):
    """Write the network of RUN as one graph that runs without Python: normalized windows in, embeddings and codes out.

    docs/model_export.md says what it takes and gives.
    """
    from gaitlib.model.export import export_onnx

    frames = export_onnx(run, out)
    click.echo(f"{out}: windows of {frames} frames, {out.stat().st_size / 1e6:.1f} MB")


def _say_where(folder: Path) -> None:
    click.echo(f"The report is {os.path.relpath(folder / 'index.html')}")


def _alone(chapter: str, checkpoint: str, data: str, name: str, overrides: tuple[str, ...], other_people: bool):
    """Run one notebook on a given checkpoint; what is wrong is said before anything is written."""
    from gaitlib.experiment import Experiment
    from gaitlib.files import is_taken
    from gaitlib.notebooks import run_notebooks
    from gaitlib.stages import Stages

    run = _reports() / (name or f"{Path(checkpoint).stem}-{chapter.partition('_')[2]}")
    if is_taken(run):
        raise InputError(f"{os.path.relpath(run)} exists; give another --name.")
    places = {"data": data, "stages": Stages(_reports().parent / "cache"), "run": run}
    experiment = Experiment.of_checkpoint(checkpoint, overrides, other_people=other_people, **places)
    experiment.check()
    try:
        run_notebooks(experiment, [chapter], "begins again, with what it has computed")
    except KeyboardInterrupt:
        shutil.rmtree(run, ignore_errors=True)  # it was empty
        raise
    _say_where(run)


def _on_a_checkpoint(command):
    """The options of commands that run one notebook."""
    files = "A run folder, a weights file, or files of the released program: autoencoder.pt,recognizer.pt."
    others = "Test people who share a name with people the checkpoint was trained on are others."
    checkpoint = click.option("--checkpoint", required=True, metavar="RUN_OR_FILES", help=files)
    return checkpoint(_data(_name(_set(click.option("--other-people", is_flag=True, help=others)(command)))))


@main.command(epilog="Example: gaitlib evaluate --checkpoint reports/quick --data data/walkers --name other-people")
@_on_a_checkpoint
def evaluate(**options):
    """Run notebook 03 alone on a given checkpoint."""
    _alone("03_evaluation", **options)


@main.command(epilog="Example: gaitlib visualize --checkpoint reports/quick --name pictures")
@_on_a_checkpoint
def visualize(**options):
    """Run notebook 04 alone on a given checkpoint."""
    _alone("04_visualization", **options)


@main.command(epilog="Example: gaitlib compare reports/published-0,reports/published-1 reports/beyond-0,reports/beyond-1")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@_name
def compare(runs, name):
    """Compare runs on the same people with the first of them: one page in reports/NAME/.

    Runs that differ only in the seed are given with commas and count as one.
    """
    from gaitlib.reports.compare import compare

    click.echo(f"The page is {os.path.relpath(compare(runs, _reports() / (name or 'compared')))}")


@main.command(epilog="Example: gaitlib grid configs/grids/smoke.yaml --workers 2")
@click.argument("grid_file", metavar="GRID.yaml")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Runs at a time on this machine.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="A dask scheduler whose workers run the points instead.")
@click.option("--resume", is_flag=True, help="Do what is missing in an existing grid; what is done stays.")
@_name
def grid(grid_file, workers, scheduler, resume, name):
    """Run every point of GRID.yaml, each as `gaitlib run` would, into reports/NAME/POINT/, and compare them in one page.

    Points that fail stop no others. After Ctrl-C, a crash or a failure the same command with --resume does what is missing.
    """
    from gaitlib.grid import DONE, run_grid
    from gaitlib.runs import write_runs_page
    from gaitlib.stages import StageFailed

    folder, points = run_grid(grid_file, workers=workers, scheduler=scheduler, resume=resume, name=name)
    write_runs_page(_reports())
    failed = [point for point in points if point.state != DONE]
    _say_where(folder)
    if failed:
        raise StageFailed(f"{len(failed)} of {len(points)} points are not done; the first, {failed[0].name}: {failed[0].error}")


@main.command(epilog="Example: gaitlib rerun reports/quick")
@click.argument("run")
@_data
@_name
def rerun(run, data, name):
    """Repeat RUN from its folder alone, without any cached stage, and say whether the numbers are the same.

    Exit code 0 when metrics.json is the same, 1 when a number differs. A data set is found in data/ by its fingerprint, or given
    with --data.
    """
    from gaitlib.reports.run import Run
    from gaitlib.runs import circumstances, rerun, write_runs_page

    again, differing = rerun(run, data=data, name=name)
    _say_where(again.folder)
    write_runs_page(_reports())
    for line in circumstances(Run(Path(run)), again):
        click.echo(f"  not the same around it: {line}")
    for line in differing:
        click.echo(f"  {line}")
    click.echo(f"{len(differing)} numbers differ." if differing else "All numbers are the same.")
    sys.exit(1 if differing else 0)


@main.command(epilog="Example: gaitlib runs protocol=walkers 'smoke/*'")
@click.argument("words", nargs=-1)
def runs(words):
    """List the runs in reports/ and what they take on the disk, and write reports/index.html.

    WORDS choose: key=value of the configuration, or a part of the name.
    """
    from gaitlib.runs import find_runs, megabytes, size, write_runs_page

    chosen = [run for run in find_runs(_reports()) if run.matches(words)]
    if not chosen:
        click.echo("No run in reports/" + (f" fits {' '.join(words)}." if words else "."))
        return
    width = max(len(run.name) for run in chosen)
    click.echo(f"{'run':{width}}  {'started':16}  {'protocol':10}  seed  validation  rank-1  {'size':>10}")
    for run in chosen:
        click.echo(f"{run.name:{width}}  {_line(run)}  {megabytes(size(run.folder)):>10}")
    total, cache = megabytes(sum(size(run.folder) for run in chosen)), megabytes(size(_reports().parent / "cache"))
    click.echo(f"{len(chosen)} runs, {total}; cache/ {cache}")
    click.echo(f"All of them on one page: {os.path.relpath(write_runs_page(_reports()))}")


def _line(run) -> str:
    """What `gaitlib runs` says of a run."""
    if run.problem:
        return f"unreadable: {run.problem}"
    validation, rank1 = ("–" if share is None else f"{share:.1%}" for share in (run.validation, run.rank1()))
    started = run.provenance.get("start", "not finished")[:16].replace("T", " ")
    return f"{started:16}  {run.content.get('protocol', ''):10}  {run.content.get('seed', ''):4}  {validation:>10}  {rank1:>6}"


@main.command(epilog="Example: gaitlib clean --keep-best")
@click.option("--keep-best", is_flag=True, help="Also the weights of all runs but the best of each data set and protocol.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(keep_best, yes):
    """Delete stages from cache/, which are made again when they are needed; pages and numbers of runs always stay.

    The best run is chosen by the validation people. Runs without weights can be repeated with `gaitlib rerun`.
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
                click.echo(f"  in use by now, stays: {os.path.relpath(path)}")
        click.echo(f"Deleted {megabytes(sum(sizes[path] for path in deleted))}.")


@main.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name")
def point(folder, name):
    """Run one point of a grid; `gaitlib grid` starts these."""
    from gaitlib.grid import run_point

    run_point(folder, name)


if __name__ == "__main__":
    main()
