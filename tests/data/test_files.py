"""The order of files, and what is passed over."""

from gaitlib.data.formats.files import folders_with, natural


def test_natural_order():
    assert sorted(["f10", "f9", "10", "9", "f"], key=natural) == ["9", "10", "f", "f9", "f10"]
    assert sorted(["9" * 5000, "1" * 5000], key=natural) == ["1" * 5000, "9" * 5000]


def test_hidden_files_and_links_back_are_passed_over(tmp_path):
    for name in (".a/1.json", "b/.1.json", "b/2.json", "b/3.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)
    assert list(folders_with(tmp_path, (".json",))) == [(("b",), ["2.json"])]
