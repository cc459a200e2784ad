"""A fresh clone sets itself up: one list of dependencies, one torch pin, clean sources and notebooks."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DIRECT = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
EXTRAS = {canonicalize_name(Requirement(text).name) for extra in PROJECT["optional-dependencies"].values() for text in extra}
#: What is imported under another name than it is installed by.
INSTALLED_AS = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "cv2": "opencv-contrib-python",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
}
#: What is part of a direct dependency: its own requirements name it, and no release of it could do without.
COMES_WITH = {
    **dict.fromkeys(
        ("packaging", "nbformat", "nbconvert", "jinja2", "markupsafe", "pygments", "traitlets", "ipython"), "jupyterlab"
    ),
    "scipy": "scikit-learn",
    "pillow": "matplotlib",
}

#: Modules of gaitlib that load what an extra brings, when they are asked for it.
NEED_EXTRAS = {"grid.py", "export.py", "clips.py", "mediapipe_pose.py", "pose_model.py"}


def tracked(*patterns):
    """The files of the clone that are committed or about to be; all files where there is no git."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    try:
        names = subprocess.run(git, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        found = {path for pattern in patterns for path in ROOT.rglob(pattern)}
        names = [str(path.relative_to(ROOT)) for path in found if not path.relative_to(ROOT).parts[0].startswith(".")]
    return [ROOT / name for name in sorted(names) if (ROOT / name).is_file()]


def pins(text):
    """name -> version of the lines `name==version`."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_conda_brings_python_and_pip_only():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    *conda, pip = environment["dependencies"]
    assert [re.match(r"[\w-]+", name)[0] for name in conda] == ["python", "pip"]
    versions, torch, project = pip["pip"]
    assert versions == "-c constraints.txt"
    assert re.fullmatch(r"torch==[\d.]+", torch)
    assert project == "-e ."


def test_there_is_one_torch_pin():
    makefile = re.search(r"^TORCH \?= torch==([\d.]+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1]
    environment = re.search(r"- torch==([\d.]+)$", (ROOT / "environment.yml").read_text("utf-8"), re.MULTILINE)[1]
    assert makefile == environment == pins((ROOT / "constraints.txt").read_text("utf-8"))["torch"]


def test_every_direct_dependency_is_pinned_to_a_version_that_is_asked_for():
    pinned = pins((ROOT / "constraints.txt").read_text("utf-8"))
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras["dev"], *extras["onnx"], *extras["video"]]:
        requirement = Requirement(text)
        if requirement.name == "gaitlib":  # dev asks for an extra
            continue
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text
    assert "gaitlib" not in pinned


def test_the_pinned_versions_install_on_the_oldest_python():
    """A system's python is often the first release of its kind, and pip then searches for a quarter of an hour, in vain."""
    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    too_new, looked_at = {}, 0
    for name, version in pins((ROOT / "constraints.txt").read_text("utf-8")).items():
        try:
            found = metadata(name)
        except PackageNotFoundError:
            continue  # of another platform or extra
        looked_at += 1
        if not SpecifierSet(found["Requires-Python"] or "").contains(oldest):
            too_new[f"{name} {version}"] = found["Requires-Python"]
    assert looked_at > 100
    assert not too_new


def test_there_is_no_second_list_of_dependencies():
    names = {path.name for path in tracked()}
    assert not names & {"requirements.txt", "setup.py", "setup.cfg", "Pipfile", "poetry.lock", "requirements-dev.txt"}


def source(path):
    """The code of a module or notebook."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def imports(path):
    for node in ast.walk(ast.parse(source(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]


def test_everything_imported_is_a_dependency():
    assert set(COMES_WITH.values()) <= DIRECT
    missing = {}
    for path in tracked("*.py", "*.ipynb"):
        folder = path.relative_to(ROOT).parts[0]
        if folder not in ("gaitlib", "notebooks", "tests", "benchmarks"):
            continue
        known = DIRECT | set(COMES_WITH)
        if folder in ("tests", "benchmarks") or path.name in NEED_EXTRAS:
            known |= EXTRAS
        for name in set(imports(path)) - set(sys.stdlib_module_names) - {"gaitlib", "tests"}:
            package = canonicalize_name(INSTALLED_AS.get(name, name.replace("lightning_fabric", "lightning-fabric")))
            if package not in known:
                missing.setdefault(package, path.name)
    assert not missing


def test_notebooks_are_committed_without_outputs():
    notebooks = tracked("notebooks/*.ipynb")
    assert len(notebooks) == 5
    done = subprocess.run([sys.executable, "-m", "nbstripout", "--verify", *map(str, notebooks)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_nothing_depends_on_one_computer_or_on_a_cdn():
    # spelled in pieces, so that this file does not find itself
    networks = ["cdn" + "js\\.", "jsde" + "livr", "unp" + "kg\\.com"]
    forbidden = re.compile("|".join(["(?<![\\w.~])/(home|Users|root)/" + "\\w", *networks]))
    found = []
    for path in tracked("*.py", "*.js", "*.css", "*.j2", "*.ipynb", "*.yaml", "*.yml", "*.toml", "*.txt", "Makefile"):
        found += [f"{path.name}: {match[0]}" for match in forbidden.finditer(path.read_text("utf-8"))]
    assert not found


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.parametrize("target", ["report", "test", "lab", "app", "video", "bench", "clean"])
def test_make_knows_its_targets(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_make
def test_an_old_python_is_named_in_one_sentence_and_leaves_nothing_behind(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(["make", "report", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
def test_a_half_made_environment_does_not_count_as_made(tmp_path):
    """The first installation fails: the next make tries again, and only a whole one gets its stamp."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # an environment's python whose pip works only once the file "network" is there
    python.write_text('#!/bin/sh\necho "$@" >> log\ncase "$*" in *pip*install*) test -e network;; esac\n')
    python.chmod(0o755)

    def make():
        command = ["make", "test", f"PYTHON={sys.executable}", "OS="]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).returncode

    assert make() != 0
    assert not (tmp_path / ".venv" / ".installed").exists()
    (tmp_path / "network").touch()
    assert make() == 0
    log = (tmp_path / "log").read_text().splitlines()
    installs = [line for line in log if "install" in line]
    assert [line.rpartition("install ")[2] for line in installs[-2:]] == [
        "--no-compile torch==2.13.0",
        "--no-compile -c constraints.txt -e .[dev]",
    ]
    assert make() == 0
    assert len([line for line in (tmp_path / "log").read_text().splitlines() if "install" in line]) == len(installs)
    newer = (tmp_path / ".venv" / ".installed-dev").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (newer, newer))
    assert make() == 0
    assert len([line for line in (tmp_path / "log").read_text().splitlines() if "install" in line]) == len(installs) + 2


def test_the_license_and_the_citation_are_there():
    assert "MIT License" in (ROOT / "LICENSE").read_text("utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert {reference["year"] for reference in citation["references"]} == {2021, 2015}
