"""Subject, condition, run and view from paths, patterns and tables."""

import os
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitlib import InputError
from gaitlib.poses.naming import Name, OnePerson, Pattern, Table, from_path
from gaitlib.poses.sequences import Unusable


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("001-nm-01-090", Name("001", "nm", 1, "090")),
        ("poses/001-bg-02-000", Name("001", "bg", 2, "000")),
        ("001-nm-01-090_alphapose", Name("001", "nm", 1, "090")),
        ("001-nm-01-090/results", Name("001", "nm", 1, "090")),
        ("001/nm-01/090", Name("001", "nm", 1, "090")),
        ("CASIA-B/124/cl-02/180/180", Name("124", "cl", 2, "180")),
        ("001/nm-01/090/frames/json", Name("001", "nm", 1, "090")),
        ("001/NM-06/001-NM-06-090", Name("001", "nm", 6, "090")),
        ("001/nm-01/001-nm-01-090.avi/x", Name("001", "nm", 1, "090")),
        ("00001/00/090", Name("00001", "nm", 0, "090")),
        ("OUMVLP/10307/01/270/270", Name("10307", "nm", 1, "270")),
        ("00001/090_01", Name("00001", "nm", 1, "090")),
        ("090_01/00001", Name("00001", "nm", 1, "090")),
        ("AlphaPose/000_00/10307/extra", Name("10307", "nm", 0, "000")),
    ],
)
def test_known_spellings(path, name):
    assert from_path(path) == name


@pytest.mark.parametrize("path", ["", "walk", "001/090", "001/nm-01", "1/2/3", "001-nm-01", "001/nm-01/0900", "0001/00/090"])
def test_other_paths_say_what_to_do(path):
    with pytest.raises(Unusable, match="--pattern or --names"):
        from_path(path)


@pytest.mark.parametrize(
    ("pattern", "path", "name"),
    [
        ("{subject}/{condition}-{run}/{view}", "anna/coat-3/left", Name("anna", "coat", 3, "left")),
        ("{subject}", "anna", Name("anna")),
        ("{any}/{subject}_{run}.json", "visit 1/p-07_12", Name("p-07", "nm", 12)),
        ("{view}/{subject}", "cam1/Jürgen", Name("Jürgen", "nm", 1, "cam1")),
        ("p{subject}/{any}/{any}", "p1/x/y", Name("1")),
    ],
)
def test_patterns(pattern, path, name):
    assert Pattern(pattern)(path) == name


@pytest.mark.parametrize(
    ("path", "within"),
    [
        ("siteA/001/nm-01/090", "siteA"),
        ("001/nm-01/090", ""),
        ("001/nm-01/001-nm-01-090", ""),
        ("CASIA/bg/001-bg-01-090", "CASIA"),
        ("AlphaPose/000_00/10307", "AlphaPose"),
        ("10307/000_00", ""),
    ],
)
def test_folders_that_are_no_part_of_the_name(path, within):
    assert from_path(path).within == within


pieces = st.sampled_from(["a", "b", "1", "22", "-", "_", "/"])


@given(
    fields=st.permutations(["{subject}", "{run}", "{view}", "{any}", "{any}"]),
    between=st.lists(pieces, min_size=6, max_size=6),
    path=st.lists(st.sampled_from(["a", "b", "1", "2", "22", "-", "_", "/"]), max_size=16).map("".join),
)
@settings(max_examples=1000, deadline=None)
def test_patterns_match_as_backtracking_would(fields, between, path):
    pattern = "".join(b + f for b, f in zip(between, fields, strict=False)) + between[-1]
    slow = re.escape(pattern.strip("/"))
    for field, found in (("run", "[0-9]+"), ("subject", "[^/]+?"), ("view", "[^/]+?")):
        slow = slow.replace(re.escape(f"{{{field}}}"), f"(?P<{field}>{found})")
    expected = re.fullmatch(slow.replace(re.escape("{any}"), "[^/]+?"), path)
    found = Pattern(pattern).expression.fullmatch(path)
    assert (found and found.groupdict()) == (expected and expected.groupdict())


def test_a_pattern_of_many_fields_takes_no_time():
    began = time.process_time()
    with pytest.raises(Unusable, match="does not match"):
        Pattern("{any}a" * 9 + "{subject}")("a" * 254 + "/")
    with pytest.raises(Unusable, match="does not match"):
        Pattern("{any}a" * 9 + "{subject}-{run}x/{view}")("a1-" * 300 + "/")
    assert time.process_time() - began < 1


def test_a_path_that_does_not_match_is_unusable():
    for path in ("anna", "anna/coat/left", "anna/coat-x/left", "anna/coat-3/left/more"):
        with pytest.raises(Unusable, match="does not match --pattern"):
            Pattern("{subject}/{condition}-{run}/{view}")(path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{subjct}/{view}", r"unknown field \{subjct\}; did you mean \{subject\}"),
        ("{subject}/{}", "the fields are subject"),
        ("{view}", "has no field for the subject"),
        ("{subject}/{subject}", "twice"),
        ("{subject}{view}", "nothing between them"),
    ],
)
def test_patterns_that_cannot_be_used(pattern, message):
    with pytest.raises(InputError, match=message):
        Pattern(pattern)


@pytest.mark.parametrize("subject", ["..", ".", ".hidden", "a..b", "a\\b", "a:b", "a\nb", "-a", "a" * 65, "a b", "C:", "~", "$x"])
def test_names_are_plain(subject):
    with pytest.raises(Unusable, match="not a plain name"):
        Pattern("{subject}/{view}")(f"{subject}/000")


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_path_gives_a_name_that_could_leave_a_folder(path):
    for reader in (from_path, Pattern("{subject}/{condition}-{run}"), Pattern("{subject}")):
        try:
            name = reader(path)
        except Unusable:
            continue
        for text in (name.subject, name.condition, name.view):
            assert not set(text) & set("/\\:\0\n")
            assert text not in ("", ".", "..")


def table(folder, text):
    path = folder / "names.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table(tmp_path):
    names = Table(table(tmp_path, "path,subject,condition,run,view\na/x.json,p1,bg,2,left\nb,p2,,,\n./c\\d,p3,nm,1,000\n"))
    assert names("a/x") == Name("p1", "bg", 2, "left")
    assert names("b") == Name("p2")
    with pytest.raises(Unusable, match=r"'z' is not listed in names\.csv"):
        names("z")
    assert names.unused() == ["c/d"]
    assert Table(table(tmp_path, "subject,path\np9,q\n"))("q") == Name("p9")
    assert Table(table(tmp_path, "subject,path,age,view,views\np9,q,41,090,all\n"))("q") == Name("p9", view="090")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column path"),
        ("path,person\na,b\n", "lacks the column subject"),
        ("Path,subject\na,b\n", "has the column 'Path' but none called path; rename or remove it"),
        ("path,subject,Condition\na,b,bg\n", "has the column 'Condition' but none called condition"),
        ("path,subject,kondition\na,b,bg\n", "has the column 'kondition' but none called condition"),
        ("path,subject\n", "lists no walk"),
        ("path,subject,run\na,p,x\n", "line 2: run 'x' is not a whole number"),
        ("path,subject\na,../p\n", r"line 2: subject '../p' is not a plain name"),
        ("path,subject\na,p\na,q\n", "line 3: 'a' is listed twice"),
        ("path,subject\na\n", "line 2: subject '' is not a plain name"),
        (b"path,subject\n\xff\xfe,1\n", "it is not UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        Table(table(tmp_path, text))


def test_a_missing_table(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for file, why in (("no.csv", "there is no such file"), ("pipe.csv", "it is not a regular file"), ("", "it is a folder")):
        with pytest.raises(InputError, match=f"cannot be read: {why}"):
            Table(tmp_path / file)
    for file in ("a\0b", "x" * 5000):
        with pytest.raises(InputError, match="cannot be read"):
            Table(file)


def test_one_person_keeps_what_paths_say_of_condition_and_view():
    def named(path):
        return from_path(path)

    one = OnePerson("anna", named)
    found = [one(path) for path in ("001-bg-02-090", "clip", "siteA/002-nm-02-180")]
    assert found == [Name("anna", "bg", 1, "090"), Name("anna", "nm", 2, "000"), Name("anna", "nm", 3, "180")]
    with pytest.raises(InputError, match=r"The name cannot be used: subject '../b' is not a plain name .*; choose another\.$"):
        OnePerson("../b", named)
