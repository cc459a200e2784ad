"""The `gaitlib` command. Errors are one sentence; --debug shows the traceback.

Exit code 2 for bad input, 1 for a failure, 130 after Ctrl-C.
"""

import os
import shlex
import sys
from pathlib import Path

import click

from gaitlib import InputError, __version__


class _Group(click.Group):
    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            click.echo(f"gaitlib: {str(error) or 'Stopped.'}", err=True)
            sys.exit(130)  # as shells have it
        except InputError as error:
            self._fail(context, error, 2)
        except OSError as error:
            self._fail(context, error, 1)
        except Exception as error:
            self._fail(context, error, 2 if getattr(error, "bad_input", False) else 1)

    @staticmethod
    def _fail(context: click.Context, error: Exception, code: int):
        if context.params.get("debug"):
            raise error
        named = isinstance(error, InputError) or type(error).__name__ == "StageFailed"
        sentence = " ".join(str(error).split())
        click.echo(f"gaitlib: {'' if named else type(error).__name__ + ': '}{sentence}", err=True)
        sys.exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool):
    """Gait recognition from 2D skeletons by motion, body and view codes."""


def _checked_name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    if name and (name in (".", "..") or set(name) & set("/\\:")):
        raise InputError(f"--name {name!r} is no name of a folder in reports/; leave out what makes it a path.")
    return name


_set = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the configuration.")
_data = click.option("--data", default="", metavar="DIR", help="A data set folder; without it, the embedded walkers.")
_name = click.option("--name", default="", callback=_checked_name, help="The run folder's name in reports/.")


@main.command(epilog="Example: gaitlib run configs/quick.yaml --name quick --set training.iterations=200")
@click.argument("config")
@_set
@_data
@_name
@click.option("--resume", is_flag=True, help="Finish or refresh an existing run; finished stages are used again.")
@click.option("--force", is_flag=True, help="Replace an existing run and train anew.")
def run(config, overrides, data, name, resume, force):
    """Run notebooks 01-04 on CONFIG and write the report into reports/NAME/."""
    from gaitlib.experiment import run_experiment
    from gaitlib.runs import write_runs_page

    folder = run_experiment(config, list(overrides), data=data, name=name, resume=resume, force=force)
    write_runs_page()
    click.echo(f"The report is {folder / 'index.html'}")


@main.command(epilog="Example: torchrun --nproc-per-node 2 --no-python gaitlib train configs/casia_b.yaml --data data/casia_b")
@click.argument("config")
@_set
@_data
def train(config, overrides, data):
    """Only train CONFIG, also with several processes; `gaitlib run` with the same configuration and data then uses it.

    Started by torchrun, as many processes as it is told share each batch, one a GPU, on one machine or several that see the same
    folder. What was interrupted goes on where it stopped.
    """
    from gaitlib.config import load_config
    from gaitlib.experiment import Experiment

    experiment = Experiment(load_config(config, list(overrides)), Path(data) if data else None, Path("cache"), Path())
    folder = experiment.trained()
    if int(os.environ.get("RANK", 0)) == 0:
        click.echo(f"The training is in {folder}")


@main.command(epilog="Example: gaitlib prepare kgbd_passes.npz --format kgbd --cameras 0:180:18 --out data/kgbd-11v")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", "format_name", default="auto", help="A name from `gaitlib formats`, or auto.")
@click.option("--cameras", default="sensor", show_default=True, help="For 3D sources: sensor, or first:last:step in degrees.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The data set folder to write.")
@click.option("--layout", default="", metavar="NAME", help="Keypoints of the files, such as COCO17; default: told from them.")
@click.option("--pattern", default="", help='Where the names stand in a path: "{subject}/{condition}-{run}/{view}", {any}.')
@click.option("--names", metavar="FILE.csv", help="A table of path, subject, condition, run, view, in place of a pattern.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that read.")
@click.option("--strict", is_flag=True, help="Stop at the first file that cannot be used; default: list it and go on.")
@click.option("--fps", type=float, help="Frames a second of 2D sources; default: 25.")
@click.option("--repair", default="", metavar="STEPS", help="Such as confidence=0.2,flips,spikes=0.7,gaps=5; default: nothing.")
def prepare(source, format_name, cameras, out, layout, pattern, names, workers, strict, fps, repair):
    """Turn files of poses into a data set folder.

    Subject, condition, run and view come from paths like 001/nm-01/090 or 001-nm-01-090, from --pattern, or from --names.
    What was read before an interruption is kept beside the folder, and the same command goes on from there.
    Repairs are made in the order given, and what each has changed is counted: confidence=C takes joints below C for missing,
    flips undoes exchanges of left and right, spikes=S takes joints that jump by S torso lengths for missing, gaps=N bridges up
    to N frames.
    """
    from tqdm import tqdm

    from gaitlib.poses.prepare import prepare as make

    dataset = make(
        source, out, format=format_name, repair=repair, workers=workers, say=click.echo,
        progress=lambda walks, done: tqdm(walks, initial=done, unit="walk", disable=not sys.stderr.isatty()),
        cameras=cameras, layout=layout, pattern=pattern, names=names, strict=strict, fps=fps,
    )  # fmt: skip
    _say(dataset, out)


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
    from gaitlib.config import config_folder
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.data.protocol import Protocol
    from gaitlib.files import check_writable
    from gaitlib.poses.inspect import inspect
    from gaitlib.reports.excel import safe_text

    if findings:
        check_writable(findings)
    dataset = GaitDataset.open(folder)
    chosen = Protocol.load(config_folder() / "protocols" / f"{protocol}.yaml") if protocol else None
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
        click.echo("".join(f"    {line}\n" for line in form.layout.strip().splitlines()))


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
    _say(
        write_dataset(out, progress, name=f"walkers, seed {seed}", notes={"walkers": {"subjects": subjects, "seed": seed}}),
        out,
    )


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
    import torch

    from gaitlib.config import config_folder, load_config
    from gaitlib.data.dataset import GaitDataset
    from gaitlib.data.preprocess import normalize
    from gaitlib.evaluation.embedding import embed_walks
    from gaitlib.files import check_writable
    from gaitlib.model.checkpoint import load_model, settings_of

    check_writable(out)
    model, facts = load_model(run)
    dataset = GaitDataset.open(data)
    given = {"evaluation": settings_of(facts, run).get("evaluation", {})}
    settings = load_config(config_folder() / "default.yaml", layers=[(run, given)]).evaluation
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = embed_walks(model, normalize(dataset), stride=settings.stride, mirrored=settings.mirrored, device=device)
    found.save(out)
    click.echo(f"{out}: {len(found.values)} walks, {found.values.shape[1]} numbers each")


def _alone(chapter: str, checkpoint: str, data: str, name: str, overrides: tuple[str, ...]):
    from gaitlib.experiment import Experiment, run_notebooks
    from gaitlib.files import is_taken
    from gaitlib.model.checkpoint import load_model, released_files
    from gaitlib.runs import delete

    run = Path("reports") / (name or f"{Path(checkpoint).stem}-{chapter.partition('_')[2]}")
    if is_taken(run):
        raise InputError(f"{run} exists; give another --name.")
    load_model(checkpoint)  # what is wrong is said before anything is written
    checkpoint = ",".join(str(path.resolve()) for path in released_files(checkpoint) or [Path(checkpoint)])
    parameters = {
        "config": "", "overrides": shlex.join(overrides), "data": str(Path(data).resolve()) if data else "",
        "run": str(run.resolve()), "checkpoint": checkpoint,
    }  # fmt: skip
    made, existed = run.resolve(), run.exists()  # before the next line goes to the root of the repository
    Experiment.open(**parameters).check()
    made.mkdir(parents=True, exist_ok=True)
    try:
        run_notebooks(made, parameters, (chapter,), "begins again, with what it has computed")
    except KeyboardInterrupt:
        for path in made.iterdir():  # the folder was empty
            delete(path)
        if not existed:
            made.rmdir()
        raise
    click.echo(f"The report is {run / 'index.html'}")


_checkpoint = click.option(
    "--checkpoint", required=True, metavar="RUN_OR_FILES",
    help="A run folder, a weights file, or files of the released program: autoencoder.pt,recognizer.pt.",
)  # fmt: skip


@main.command(epilog="Example: gaitlib evaluate --checkpoint reports/quick --data data/walkers --name other-people")
@_checkpoint
@_data
@_name
@_set
def evaluate(checkpoint, data, name, overrides):
    """Run notebook 03 alone on a given checkpoint."""
    _alone("03_evaluation", checkpoint, data, name, overrides)


@main.command(epilog="Example: gaitlib visualize --checkpoint reports/quick --name pictures")
@_checkpoint
@_data
@_name
@_set
def visualize(checkpoint, data, name, overrides):
    """Run notebook 04 alone on a given checkpoint."""
    _alone("04_visualization", checkpoint, data, name, overrides)


@main.command(epilog="Example: gaitlib compare reports/published-0,reports/published-1 reports/beyond-0,reports/beyond-1")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@_name
def compare(runs, name):
    """Compare runs on the same people with the first of them: one page in reports/NAME/.

    Runs that differ only in the seed are given with commas and count as one.
    """
    from gaitlib.reports.compare import compare

    folder = Path("reports") / (name or "compared")
    click.echo(f"The page is {compare(runs, folder)}")


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
    from gaitlib.experiment import StageFailed
    from gaitlib.grid import DONE, run_grid
    from gaitlib.runs import write_runs_page

    folder, points = run_grid(grid_file, workers=workers, scheduler=scheduler, resume=resume, name=name)
    write_runs_page()
    failed = [point for point in points if point.state != DONE]
    click.echo(f"The report is {Path(os.path.relpath(folder)) / 'index.html'}")
    if failed:
        said = f"{len(failed)} of {len(points)} points are not done; the first, {failed[0].name}: {failed[0].error}"
        raise StageFailed(said, bad_input=False)


@main.command(epilog="Example: gaitlib rerun reports/quick")
@click.argument("run")
@_data
@_name
def rerun(run, data, name):
    """Repeat RUN from its folder alone, without any cached stage, and say whether the numbers are the same.

    Exit code 0 when metrics.json is the same, 1 when a number differs. A data set is found in data/ by its fingerprint, or given
    with --data.
    """
    from gaitlib.runs import circumstances, read_json, rerun, write_runs_page

    again, differing = rerun(run, data=data, name=name)
    click.echo(f"The report is {again / 'index.html'}")
    write_runs_page()
    for line in circumstances(*(read_json(Path(folder) / "provenance.json") for folder in (run, again))):
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

    chosen = [run for run in find_runs() if run.matches(words)]
    if not chosen:
        click.echo("No run in reports/" + (f" fits {' '.join(words)}." if words else "."))
        return
    width = max(len(run.name) for run in chosen)
    click.echo(f"{'run':{width}}  {'started':16}  {'protocol':10}  seed  validation  rank-1  {'size':>10}")
    for run in chosen:
        if run.problem:
            click.echo(f"{run.name:{width}}  {run.problem}")
            continue
        shares = ["     –" if share is None else f"{share:6.1%}" for share in (run.validation, run.rank1())]
        started = run.provenance.get("start", "not finished")[:16].replace("T", " ")
        click.echo(
            f"{run.name:{width}}  {started:16}  {run.content.get('protocol', ''):10}  {run.content.get('seed', ''):4}  "
            f"{shares[0]:>10}  {shares[1]}  {megabytes(size(run.folder)):>10}"
        )
    cache = Path("cache")
    click.echo(f"{len(chosen)} runs, {megabytes(sum(size(run.folder) for run in chosen))}; cache/ {megabytes(size(cache))}")
    click.echo(f"All of them on one page: {write_runs_page()}")


@main.command(epilog="Example: gaitlib clean --keep-best")
@click.option("--keep-best", is_flag=True, help="Also the weights of all runs but the best of each data set and protocol.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean(keep_best, yes):
    """Delete stages from cache/, which are made again when they are needed; pages and numbers of runs always stay.

    The best run is chosen by the validation people. Runs without weights can be repeated with `gaitlib rerun`.
    """
    from gaitlib.runs import delete, megabytes, size, what_can_go

    going = what_can_go("reports", "cache", keep_best=keep_best)
    for path in going:
        click.echo(f"{megabytes(size(path)):>12}  {path}")
    if not going:
        click.echo("There is nothing to delete.")
        return
    total = megabytes(sum(size(path) for path in going))
    if yes or click.confirm(f"Delete {total}?"):
        for path in going:
            delete(path)
        click.echo(f"Deleted {total}.")


@main.command(hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name")
def point(folder, name):
    """Run one point of a grid; `gaitlib grid` starts these."""
    # a grammar of internet addresses that jsonschema compiles where it finds it, and notebooks never need: a third of the start
    sys.modules.setdefault("rfc3987_syntax", None)
    from gaitlib.grid import run_point

    run_point(folder, name)


if __name__ == "__main__":
    main()
