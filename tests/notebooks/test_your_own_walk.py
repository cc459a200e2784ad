"""Notebook 05, executed: embedded walkers, and a table of poses asked of a gallery that is given."""

import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup

from gaitlib.data.dataset import write_dataset
from gaitlib.data.preprocess import normalize
from gaitlib.data.walkers import make_walkers
from gaitlib.gallery import Gallery
from gaitlib.poses.export import export

ROOT = Path(__file__).parents[2]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """execute(**parameters) in a folder laid out as a clone: what it prints, its Markdown, and its HTML."""
    for name in ("configs", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)

    def execute(**parameters):
        path = Path("notebooks/05_your_own_walk.ipynb")
        papermill.execute_notebook(path, "out.ipynb", parameters, progress_bar=False, log_output=False)
        outputs = [o for cell in nbformat.read("out.ipynb", 4).cells for o in cell.get("outputs", [])]
        assert {o.output_type for o in outputs} <= {"execute_result", "display_data", "stream"}
        printed = "".join(o.text for o in outputs if o.output_type == "stream")
        texts = ["\n".join(o.data.get(f"text/{kind}", "") for o in outputs if "data" in o) for kind in ("markdown", "html")]
        return printed, *texts

    return execute


def test_a_walker_is_told_from_a_stranger_and_nothing_stays(execute, tmp_path):
    _, said, shown = execute()
    page = BeautifulSoup(shown, "html.parser")
    answers = [[cell.text for cell in row.select("th, td")][:2] for row in page("table")[1].select("tbody tr")]
    assert answers == [["009-nm-06-090", "009"], ["021-nm-06-090", "nobody enrolled"]]
    assert "009-nm-06-090: **009**, with a score of" in said
    assert "Walks of enrolled people: 1 of 2." in said
    assert "The person walks to the left" in said
    assert "People enrolled: 20, with 240 walks in all." in said
    assert [bool(figure.find("script")) for figure in page.select(".gait-fragment")] == [True] * 3
    assert all(len(image["alt"]) > 20 for image in page("img"))
    assert list((tmp_path / "cache").iterdir()) == []


def test_poses_in_a_table_are_asked_of_a_given_gallery(execute, tmp_path):
    walks = write_dataset("data", (w for w in make_walkers(2, 3, views=[72]) if w.condition == "nm"), name="some")
    with Gallery("two.gallery", create=True) as gallery:
        list(gallery.enroll(normalize(walks.select(run=[1, 2]))))
    export(walks.select(subject="002", run=[3, 4]), "csv", "asked")
    printed, said, _ = execute(source="asked/walks.csv", gallery="two.gallery", walk=1)
    assert "Format csv" in printed
    assert "002/nm-04/072: **" in said
    assert "Fewer than 5 people are enrolled" in said
    assert "Nobody is enrolled from the view" not in said  # the path says which
