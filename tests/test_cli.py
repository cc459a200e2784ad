"""The command: one sentence and an exit code for what goes wrong, and nothing heavy loaded for --help."""

import csv
import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitlib import InputError, __version__
from gaitlib.cli import main
from gaitlib.config import load_config
from gaitlib.data.dataset import GaitDataset, Walk, write_dataset
from gaitlib.skeleton import NUM_JOINTS

QUICK = str(Path(__file__).parents[1] / "configs" / "quick.yaml")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: arguments -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments], prog_name="gaitlib")
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Run the command, which must stop with one line on stderr; returns that line."""

    def run(*arguments, code=2):
        found, out, err = call(*arguments)
        assert found == code, err
        assert "Traceback" not in out + err
        assert re.fullmatch(r"gaitlib: [^\n]+\n", err), err
        return err

    return run


def people(*subjects):
    rng = np.random.default_rng(0)
    for subject in subjects:
        for view in ("000", "090"):
            pose = rng.normal(100, 30, (20, NUM_JOINTS, 2)).astype(np.float32)
            yield Walk(pose, np.ones((20, NUM_JOINTS), np.float32), 25.0, subject, "nm", 1, view)


def other_schema():
    write_dataset("d", people("001"), name="few")
    path = Path("d/dataset.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "none.yaml"], "There is no configuration none.yaml; configs/ has as_published, "),
        (["run", QUICK, "--set", "training.iteration=3"], "the nearest is 'training.iterations'"),
        (["run", QUICK, "--set", "training.iterations=few"], "--set training.iterations=few: training.iterations = 'few'"),
        (["run", QUICK, "--set", "walkers.subjects=10"], "protocol walkers, train: the data set's 10 people do not include 011"),
        (["run", QUICK, "--set", "seed"], "write it as key=value"),
        (["run", QUICK, "--set", "protocol=casia"], "casia.yaml; the folder has: asked, casia-b-lt"),
        (["run", QUICK, "--data", "nowhere"], "There is no file or folder nowhere."),
        (["prepare", "nothing", "--out", "o"], "nothing does not exist"),
        (["prepare", QUICK, "--out", "o"], "is not in a known format"),
        (["prepare", QUICK, "--format", "kgdb", "--out", "o"], "did you mean kgbd?"),
        (["prepare", QUICK, "--format", "kgbd", "--out", "o"], "is not a complete .npz file"),
        (["prepare", QUICK, "--format", "kinect", "--out", "o"], "quick.yaml"),
        (["prepare", QUICK, "--format", "kgbd", "--cameras", "all", "--out", "o"], "'all'"),
        (["inspect", "nothing"], "There is no file or folder nothing."),
        (["inspect", QUICK], "quick.yaml is not a data set folder"),
        (["embed", "nothing", "nowhere", "--out", "o.npz"], "There is no file or folder nothing."),
        (["embed", QUICK, QUICK, "--out", "o.npz"], "cannot be read as a gaitlib checkpoint"),
        (["evaluate", "--checkpoint", "nothing"], "There is no file or folder nothing."),
        (["visualize", "--checkpoint", "nothing", "--name", "pictures"], "There is no file or folder nothing."),
        (["evaluate", "--checkpoint", f"{QUICK}, recognizer.pt"], "There is no file or folder recognizer.pt."),
        (["evaluate", "--checkpoint", str(Path(QUICK).parent)], "holds no checkpoint"),
        (["rerun", "nothing"], "There is no run folder nothing; "),
        (["compare", "nothing", "nowhere"], "There is no run folder nothing; "),
        (["open", "nothing"], "There is no run nothing; `gaitlib runs` lists the runs there are."),
        (["run", "quik"], "There is no configuration quik; did you mean quick?"),
        (["run", "elsewhere/quick.yaml"], "There is no configuration elsewhere/quick.yaml; did you mean quick?"),
        (["run"], "Missing argument 'CONFIG'. See `gaitlib run --help`."),
        (["run", QUICK, "--nonsense"], "No such option '--nonsense'. See `gaitlib run --help`."),
        (["walkers", "--subjects", "0", "--out", "o"], "Invalid value for '--subjects'"),
        (["nonsense"], "No such command 'nonsense'. See `gaitlib --help`."),
        (["--nonsense", "runs"], "No such option '--nonsense'. See `gaitlib --help`."),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(refused, tmp_path, arguments, words):
    assert words in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "../../elsewhere", "/tmp", "a/b", "a\\b", " ", "a\nb", "*", "-rf", "", "n" * 300])
@pytest.mark.parametrize("command", [["run", QUICK, "--force"], ["evaluate", "--checkpoint", QUICK]])
def test_a_run_cannot_be_named_out_of_reports(refused, tmp_path, command, name):
    """It would be replaced: with --name .. the whole repository."""
    (tmp_path / "precious").write_text("keep me")
    assert f"--name: {repr(name)[:50]}" in refused(*command, f"--name={name}")
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]


def test_another_schema_is_one_sentence(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other_schema()
    assert "schema 99, but this version reads 1" in refused("run", QUICK, "--data", "d")


def test_people_that_the_data_lacks_are_named_before_anything_is_written(refused, tmp_path):
    write_dataset(tmp_path / "d", people("001", "002"), name="few")
    assert "protocol walkers, train: the data set's 2 people do not include 003, 004, 005" in refused("run", QUICK, "--data", "d")
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_an_existing_run_is_kept(refused, tmp_path):
    kept = tmp_path / "reports" / "quick" / "metrics.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    sentence = refused("run", QUICK)
    assert "reports/quick exists" in sentence
    assert "--resume" in sentence
    assert "--force" in sentence
    assert kept.read_text() == "{}"
    assert [p.name for p in tmp_path.rglob("*")] == ["reports", "quick", "metrics.json"]


def test_an_existing_evaluation_is_kept(refused, tmp_path):
    kept = tmp_path / "reports" / "mine" / "index.html"
    kept.parent.mkdir(parents=True)
    kept.write_text("read me")
    assert "give another --name" in refused("evaluate", "--checkpoint", "pretrained", "--name", "mine")
    assert kept.read_text() == "read me"


def test_a_folder_that_is_no_data_set_is_not_replaced(refused, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    assert "not a data set folder" in refused("walkers", "--subjects", 1, "--out", "thesis")
    assert [p.name for p in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_a_full_disk_is_a_failure_not_bad_input(refused, tmp_path, monkeypatch):
    import gaitlib.data.dataset as module

    write_dataset(tmp_path / "d", people("001"), name="old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "d/poses.npy")

    monkeypatch.setattr(module, "_write_headers", full)
    assert "No space left on device: 'd/poses.npy'" in refused("walkers", "--subjects", 1, "--out", "d", code=1)
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert GaitDataset.open(tmp_path / "d").name == "old"


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("two\n  lines"), 1), (InputError("two\n  lines"), 2)])
def test_every_error_is_one_line(refused, monkeypatch, error, code):
    import gaitlib.notebooks as module

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, "run_experiment", fail)
    assert refused("run", QUICK, code=code).endswith("two lines\n")


@pytest.mark.parametrize("bad_input", [True, False])
def test_a_notebook_that_stops_tells_whose_fault_it_was(refused, monkeypatch, bad_input):
    import gaitlib.notebooks as module

    def fail(*_, **__):
        raise module.StageFailed("Notebook 02_training, cell 3: out of ideas", bad_input)

    monkeypatch.setattr(module, "run_experiment", fail)
    sentence = refused("run", QUICK, code=2 if bad_input else 1)
    assert sentence == "gaitlib: Notebook 02_training, cell 3: out of ideas\n"


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"none\.yaml"):
        main(["--debug", "run", "none.yaml"])


def test_help_names_every_command_once_in_whole_sentences(call):
    code, out, err = call()
    assert (code, err) == (0, "")
    assert call("--help")[1] == out
    listed = re.findall(r"^  ([a-z-]+)  ", out.partition("Data:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(name for name, command in main.commands.items() if not command.hidden)
    for title in ("Data", "Run", "Compare", "Identify", "Housekeeping"):
        assert f"\n{title}:\n" in out
    assert "..." not in out.partition("Data:")[2]


def test_a_configuration_is_found_by_its_name(call, monkeypatch, tmp_path):
    import gaitlib.notebooks as module

    def made(settings, name, **_):
        asked.append((settings, name))
        return tmp_path

    asked = []
    monkeypatch.setattr(module, "run_experiment", made)
    (tmp_path / "quick").mkdir()  # as in reports/, where runs are called so
    for given in ("quick", "quick.yaml", "configs/quick.yaml", QUICK):
        assert call("run", given)[0] == 0
    assert asked == [(load_config(QUICK), "quick")] * 4
    (tmp_path / "quick.yaml").write_text("seed: 77")
    call("run", "quick.yaml")
    assert asked[-1][0].seed == 77  # a file of one's own comes first


def test_a_run_ends_with_what_it_found(call, monkeypatch, small_run):
    import gaitlib.notebooks as module

    monkeypatch.setattr(module, "run_experiment", lambda *_, **__: small_run)
    code, out, err = call("run", "quick")
    assert (code, err) == (0, "")
    assert "\nCross-view rank-1 of 4 people not seen in training, with 95 % intervals:\n" in out
    assert re.search(r"\nnormal walking \(NM\) +\d+\.\d\u202f% +", out.replace("\xa0", " "))
    assert re.search(rf"\nFinished in \d+ s\.\nThe report is \S*{small_run.name}/index\.html\.\n$", out)


@pytest.mark.parametrize("opened", [True, False])
def test_the_page_of_a_run_is_opened(call, refused, monkeypatch, tmp_path, opened):
    import webbrowser

    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda address: asked.append(address) or opened)
    page = tmp_path / "reports" / "mine" / "index.html"
    page.parent.mkdir(parents=True)
    assert "reports/mine has no page" in refused("open", "mine")
    page.touch()
    for run in ("mine", "reports/mine"):
        code, out, err = call("open", run)
        assert (code, err) == (0, "")
        assert out == "reports/mine/index.html" + ("\n" if opened else " (no browser could be opened here)\n")
    assert asked == [page.as_uri()] * 2
    (page.parent / "config.yaml").touch()
    assert "There is no run mime; did you mean mine?" in refused("open", "mime")


def test_formats_are_listed_with_their_layout(call):
    from gaitlib.poses.formats import FORMATS

    code, out, err = call("formats")
    assert (code, err) == (0, "")
    for form in FORMATS.values():
        assert f"{form.name}: {form.summary}" in out
        assert all(line.strip() in out for line in form.files.splitlines())


def test_the_version(call):
    code, out, err = call("--version")
    assert (code, err) == (0, "")
    assert out.endswith(f"version {__version__}\n")


@pytest.mark.parametrize(
    "code",
    [
        "import gaitlib",
        "import gaitlib.cli",
        "from gaitlib.cli import main; main(['--help'], standalone_mode=False)",
        "from gaitlib.cli import main; main(['run', '--help'], standalone_mode=False)",
        "from gaitlib.cli import main; main(['embed', '--help'], standalone_mode=False)",
        "from gaitlib.cli import main; main(['formats'], standalone_mode=False)",
        "from gaitlib.cli import main; main(['inspect', '--help'], standalone_mode=False)",
        "import gaitlib.poses.inspect, gaitlib.poses.repair",
        "import gaitlib.runs",
    ],
)
def test_help_loads_nothing_heavy(code):
    heavy = "[n for n in ('torch', 'matplotlib', 'papermill', 'lightning_fabric', 'IPython') if n in sys.modules]"
    script = f"import sys\n{code}\nfound = {heavy}\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if "--help" in code:
        assert "Usage:" in done.stdout


def test_only_what_trains_loads_what_trains():
    """Seconds in each kernel that shows a finished training, and in each process that writes a page."""
    script = "import sys, gaitlib.experiment, gaitlib.display.figures, gaitlib.reports.compare\n"
    script += "assert not {'lightning_fabric', 'torch._dynamo', 'rfc3987_syntax.syntax_helpers'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def checkpoint(tmp_path):
    import torch

    from gaitlib.model.checkpoint import save_weights
    from gaitlib.model.recognizer import GaitModel

    torch.manual_seed(0)
    model = GaitModel(people=3, encoder_width=6, recognizer_width=4, embedding=8)
    path = tmp_path / "reports" / "tiny" / "checkpoint" / "model.safetensors"
    save_weights(path, model, model.state_dict(), config={"evaluation": {"stride": 64, "mirrored": False}})
    return path


def test_walkers_are_made_and_embedded(call, refused, checkpoint, tmp_path):
    code, out, err = call("walkers", "--subjects", 1, "--seed", 3, "--out", "w")
    assert (code, err) == (0, "")
    dataset = GaitDataset.open(tmp_path / "w")
    assert out == f"w: 110 walks of 1 people in 11 views, {len(dataset.poses)} frames\n"
    assert dataset.info["walkers"] == {"subjects": 1, "seed": 3}

    command = ["embed", "reports/tiny", "w", "--out", "walks.npz"]
    code, out, err = call(*command)
    assert (code, out, err) == (0, "walks.npz: 110 walks, 8 numbers each\n", "")
    with np.load(tmp_path / "walks.npz", allow_pickle=False) as found:
        assert found["values"].shape == (110, 8)
        np.testing.assert_allclose(np.linalg.norm(found["values"], axis=1), 1, rtol=1e-4)
        assert found["sequence"].tolist() == dataset.index["sequence"].tolist()
        assert len(np.unique(found["values"].round(6), axis=0)) > 100

    (tmp_path / "walks.npz").write_text("years of work")
    assert "walks.npz exists; give --force to replace it, or another --out." in refused(*command)
    assert (tmp_path / "walks.npz").read_text() == "years of work"
    assert call(*command, "--force")[0] == 0


def test_released_weights_that_do_not_fit_are_named(refused, tmp_path):
    import torch

    torch.save({"motion_encoder.model.1.weight": torch.zeros(64, 28, 3)}, tmp_path / "a.pt")
    wanted = "a.pt does not fit its network: autoencoder.motion_encoder.model.1.weight has shape [64, 28, 3], not [64, 30, 3]."
    assert wanted in refused("evaluate", "--checkpoint", "a.pt", "--name", "mine")
    assert wanted in refused("embed", "a.pt", ".", "--out", "o.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_data_set_is_inspected(call, refused, tmp_path):
    write_dataset(tmp_path / "d", people("001", "002"), name="few", left_out=[{"source": "bad.json", "reason": "not JSON"}])
    code, out, err = call("inspect", "d", "--findings", "look_at.csv")
    assert (code, err) == (0, "")
    assert out.startswith("few: 4 walks of 2 people in 2 views, 80 frames\n")
    assert re.search(r"000 +090\n +nm +2 +2", out)
    assert "1. Left out when the data set was prepared, 1: bad.json (not JSON)." in out
    assert "Walks shorter than a window of 64 frames, 4: 001-nm-01-000 (20 frames), " in out
    lines = (tmp_path / "look_at.csv").read_text().splitlines()
    assert lines[:2] == ["kind,sequence,source,detail", "left out,bad.json,,not JSON"]
    assert out.endswith(f"look_at.csv: {len(lines) - 1} lines\n")

    code, out, _ = call("inspect", "d", "--protocol", "walkers", "--window", 20)
    assert code == 0
    assert "Mismatches with the protocol, 1: walkers (protocol walkers, train: the data set's 2 people do not include 003" in out
    assert "shorter than" not in out
    assert "no protocol" in refused("inspect", "d", "--protocol", "walker")


def test_findings_hold_no_formulas(call, tmp_path):
    write_dataset(tmp_path / "d", people("=HYPERLINK(1)", "@x"), name="few", left_out=[{"source": "+1.json", "reason": "-1"}])
    assert call("inspect", "d", "--findings", "look_at.csv")[0] == 0
    with (tmp_path / "look_at.csv").open(newline="") as file:
        found = [cell for row in csv.reader(file) for cell in row]
    assert "'+1.json" in found
    assert "'-1" in found
    assert any(cell.startswith("'=HYPERLINK(1)") for cell in found)
    assert not [cell for cell in found if cell.startswith(("=", "+", "-", "@"))]


def test_what_was_left_out_is_said(call, tmp_path, monkeypatch):
    import gaitlib.data.walkers as module

    short = [Walk(np.zeros((3, NUM_JOINTS, 2)), np.ones((3, NUM_JOINTS)), 25.0, f"{n}", "nm", 1, "0") for n in range(12)]
    monkeypatch.setattr(module, "make_walkers", lambda subjects, seed: [*people("001"), *short])
    code, out, _ = call("walkers", "--subjects", 1, "--out", "w")
    assert code == 0
    assert out.count("left out: ") == 10
    assert "  left out: 0-nm-01-0: only 3 frames" in out
    assert "... and 2 more; all of them are in w/dataset.json" in out
    assert len(GaitDataset.open(tmp_path / "w").info["left_out"]) == 12


@pytest.mark.parametrize("what", ["weights", "state"])
def test_a_full_disk_keeps_the_checkpoint_before(checkpoint, monkeypatch, what):
    import torch

    import gaitlib.model.checkpoint as module

    model, facts = module.load_model(checkpoint)
    path = checkpoint if what == "weights" else checkpoint.with_name("state.pt")
    write = {
        "weights": lambda: module.save_weights(path, model, model.state_dict(), **facts),
        "state": lambda: module.save_state(path, {"iteration": 3}),
    }[what]
    write()
    before = path.read_bytes()

    def full(content, part, *_):
        Path(part).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device") as error:
        write()
    sentence = str(error.value)
    assert str(path) in sentence
    assert "the previous one is kept" in sentence
    assert "\n" not in sentence
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} == {"model.safetensors", path.name}
    assert module.load_model(checkpoint)[1] == facts


def test_walks_go_out_and_come_back_repaired(call, refused, tmp_path):
    walks = list(people("001", "002"))
    walks[0].pose[3:5, 4] = np.nan
    walks[0].confidence[3:5, 4] = 0
    walks[1].confidence[7, 2] = 0.1
    first = write_dataset(tmp_path / "d", walks, name="few")
    assert call("export", "d", "--format", "csv", "--out", "out/few")[:2] == (0, "out/few: 4 walks\n")
    code, out, err = call("prepare", "out/few", "--out", "again", "--repair", "confidence=0.2,gaps=5")
    assert (code, err) == (0, "")
    assert "Format csv: " in out
    assert "  repair confidence: 1 joints changed\n  repair gaps: 3 joints changed\n" in out
    again = GaitDataset.open(tmp_path / "again")
    assert again.info["repair"] == {"steps": "confidence=0.2,gaps=5", "changed": {"confidence": 1, "gaps": 3}}
    assert again.index["sequence"].tolist() == first.index["sequence"].tolist()
    touched = np.zeros(first.poses.shape[:2], bool)
    touched[3:5, 4] = touched[20 + 7, 2] = True
    np.testing.assert_array_equal(again.poses[~touched], first.poses[~touched])
    np.testing.assert_allclose(again.poses[3, 4], (2 * first.poses[2, 4] + first.poses[5, 4]) / 3, rtol=1e-5)
    assert "not an empty folder" in refused("export", "d", "--format", "csv", "--out", "out/few")
    assert "choose from opengait" in refused("export", "d", "--format", "pickle", "--out", "else")
    assert "did you mean gaps" in refused("prepare", "out/few", "--out", "again", "--repair", "gap=5")


def test_ctrl_c_has_a_sentence_and_the_exit_code_of_shells(refused, monkeypatch):
    from gaitlib import notebooks

    said = ["Stopped in notebook 02_training; the same command with --resume goes on from there."]

    def stopped(*_, **__):
        raise KeyboardInterrupt(*said)

    monkeypatch.setattr(notebooks, "run_experiment", stopped)
    assert "the same command with --resume goes on" in refused("run", QUICK, code=130)
    said.clear()  # as Python itself raises it
    assert refused("run", QUICK, code=130) == "gaitlib: Stopped.\n"


def test_where_nothing_can_be_written_is_said_before_the_work(refused, tmp_path, monkeypatch):
    import gaitlib.model.checkpoint as checkpoint
    import gaitlib.poses.inspect as inspect

    write_dataset(tmp_path / "d", people("001", "002"), name="few")
    (tmp_path / "file").touch()
    monkeypatch.setattr(checkpoint, "load_model", None)
    monkeypatch.setattr(inspect, "inspect", None)
    for out, said in (("no/x", "no/x cannot be written; make the folder no"), ("d", "d is a folder")):
        assert said in refused("embed", "pretrained", "d", "--out", out)
        assert said in refused("inspect", "d", "--findings", out)
    assert "file/x cannot be created because file is not a folder" in refused("walkers", "--subjects", "4", "--out", "file/x")
