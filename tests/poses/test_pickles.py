"""Pickles: every way in which numpy writes arrays is read, and nothing that a pickle asks for is done."""

import copyreg
import os
import pickle
import time

import numpy as np
import pytest

from gaitlib.poses.formats import opengait as pickles
from gaitlib.poses.formats.opengait import load_array
from gaitlib.poses.sequences import Unusable

PROTOCOLS = range(6)


def load(folder, content):
    path = folder / "walk.pkl"
    path.write_bytes(content)
    return load_array(path)


def refuse(folder, content):
    """The reason why a pickle is not read; the time it takes to say so is checked too."""
    start = time.process_time()
    with pytest.raises(Unusable) as error:
        load(folder, content)
    assert time.process_time() - start < 2
    reason = str(error.value)
    assert "\n" not in reason
    return reason


# ------------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|u1", "|b1"])
def test_arrays_of_numbers_come_back(tmp_path, protocol, dtype):
    array = np.arange(2 * 17 * 3).reshape(2, 17, 3).astype(dtype)
    for written in (array, np.asfortranarray(array), array[:, ::2], array[:0], np.array(7, dtype)):
        found = load(tmp_path, pickle.dumps(written, protocol=protocol))
        np.testing.assert_array_equal(found, written)
        assert found.dtype == written.dtype


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_of_arrays_and_of_numbers_come_back_as_arrays(tmp_path, protocol):
    array = np.arange(6.0).reshape(2, 3)
    empty_frame = [0.0, 0, 0]
    for value in ([*array], tuple(array), array.tolist(), [[np.float32(x) for x in row] for row in array]):
        np.testing.assert_array_equal(load(tmp_path, pickle.dumps(value, protocol=protocol)), array)
    many = [empty_frame, [1, -2.5, True], empty_frame, [2**70, None, 3]]
    np.testing.assert_array_equal(load(tmp_path, pickle.dumps(many, protocol=protocol)), np.array(many, dtype=float))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_names_of_the_module_in_numpy_are_read(tmp_path, protocol):
    content = pickle.dumps(np.arange(5, dtype=np.float32), protocol=protocol)
    module = b"numpy._core" if b"numpy._core" in content else b"numpy.core"
    other = {b"numpy._core": b"numpy.core", b"numpy.core": b"numpy._core"}[module]
    shift = len(other) - len(module)
    if protocol >= 4:  # the length of the text stands before it, that of the frame at byte 3
        start = content.index(module)
        content = content[: start - 1] + bytes([content[start - 1] + shift]) + content[start:]
        content = content[:3] + (int.from_bytes(content[3:11], "little") + shift).to_bytes(8, "little") + content[11:]
    np.testing.assert_array_equal(load(tmp_path, content.replace(module, other)), np.arange(5))


def test_arrays_of_python_2_are_read(tmp_path):
    """numpy 1 under Python 2 wrote the bytes as text, protocol 2."""
    content = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + np.array([1.5, -2], "<f4").tobytes() + b"tb."
    )
    np.testing.assert_array_equal(load(tmp_path, content), np.array([1.5, -2], np.float32))


# ------------------------------------------------------------------------------------------------ what is refused


class Call:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hidden(call):
    """The call at the top, in lists, in the arguments of others."""
    yield from (call, [call], ([call],), (np.zeros(2), call), Call(bytes, call), [[[np.zeros(1)], call]])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_are_refused_by_name_and_not_executed(tmp_path, protocol):
    marker = tmp_path / "executed"
    code = f"open({str(marker)!r}, 'w')"
    calls = [
        ("system", Call(os.system, f"touch {marker}")),
        ("eval", Call(eval, code)),
        ("exec", Call(exec, code)),
        ("getattr", Call(getattr, "", "join")),
        ("open", Call(open, str(marker), "w")),
        ("load", Call(np.load, str(marker), None, True)),
        ("memmap", Call(np.memmap, str(marker), "u1", "w+", 0, 3)),
        ("_reconstructor", Call(copyreg._reconstructor, object, object, None)),
    ]
    for name, call in calls:
        for value in hidden(call):
            reason = refuse(tmp_path, pickle.dumps(value, protocol=protocol))
            assert reason.startswith("contains "), reason
            assert name in reason, reason
    assert not marker.exists()


def test_the_reason_says_what_was_refused(tmp_path):
    reason = refuse(tmp_path, pickle.dumps(Call(eval, "1"), protocol=4))
    assert reason == "contains builtins.eval, but only arrays and lists are read from a pickle"
    assert "posix.system" in refuse(tmp_path, b"cposix\nsystem\n(S'true'\ntR.")
    assert "?[31m" in refuse(tmp_path, b"c\x1b[31mred\nname\n.")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # names in numpy that run code, read files, or make other objects
        (b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR.", "contains numpy.core.multiarray.fromfile"),
        (b"cnumpy._core.multiarray\nset_string_function\n.", "contains numpy._core.multiarray.set_string_function"),
        (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\nNtR.", "contains numpy.testing._private.utils.runstring"),
        (b"cnumpy\nndarray.__class__\n.", "contains numpy.ndarray.__class__"),
        (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "contains numpy.core.multiarray._reconstruct.__globals__"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "contains builtins.eval"),
        (b"ccodecs\nencode\n.", "contains codecs.encode"),
        # admitted names in other roles
        (b"cnumpy\nndarray\n.", "holds a type, not an array"),
        (b"cnumpy\ndtype\n(S'f4'\ntR.", "holds a type, not an array"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "holds an array of type 'O8'"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "holds an array of type 'V8'"),
        (b"cnumpy\ndtype\n(S'f4,O'\ntR.", "holds an array of type 'f4,O'"),
        (
            b"cnumpy\ndtype\n(S'f4'\ntR(K\x03S'<'\nN(S'a'\ntNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.",
            "holds an array of records",
        ),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "is not a pickle"),
        (b"c__builtin__\nbytes\n(J\xff\xff\xff\x7ftR.", "is not a pickle"),
        # other ways to make objects or reach outside
        (b"(S'true'\nios\nsystem\n.", "contains the step INST"),
        (b"(cos\nsystem\nS'true'\no.", "contains the step OBJ"),
        (b"(inumpy\ndtype\n.", "contains the step INST"),
        (b"cnumpy\ndtype\n)\x81.", "contains the step NEWOBJ"),
        (b"cnumpy\ndtype\n))\x92.", "contains the step NEWOBJ_EX"),
        (b"(cnumpy\ndtype\no.", "contains the step OBJ"),
        (b"ccollections\nOrderedDict\n.", "contains collections.OrderedDict"),
        (b"Pname\n.", "contains the step PERSID"),
        (b"S'x'\nQ.", "contains the step BINPERSID"),
        (b"\x82\x01.", "contains the step EXT1"),
        (b"\x80\x05\x97.", "contains the step NEXT_BUFFER"),
        (b"\x80\x04\x8f.", "contains the step EMPTY_SET"),
        (b"}(S'__class__'\nK\x01dub.", "holds a dict"),
        (b"]}b.", "holds a dict"),
        (b"](NNtb.", "is not a pickle"),
        (b"c_codecs\nencode\n(NNtb.", "is not a pickle"),
        (b"cnumpy\ndtype\n(K\x03S'<'\ntb.", "is not a pickle"),
    ],
)
def test_tricks_are_refused(tmp_path, content, reason):
    assert refuse(tmp_path, content).startswith(reason)


def test_state_of_other_kinds_of_arrays_is_refused(tmp_path):
    class Sub(np.ndarray):
        pass

    globals()["Sub"], Sub.__qualname__ = Sub, "Sub"
    for protocol in PROTOCOLS:
        assert "Sub" in refuse(tmp_path, pickle.dumps(np.zeros(3).view(Sub), protocol=protocol))
        assert "numpy.ma.core" in refuse(tmp_path, pickle.dumps(np.ma.zeros(3), protocol=protocol))
        for dtype, reason in (
            ([("a", "f4")], "a dict"),
            ("U5", "an array of type"),
            ("M8[s]", "an array of type"),
            ("c8", "an array of type"),
        ):
            assert f"holds {reason}" in refuse(tmp_path, pickle.dumps(np.zeros(3, dtype=dtype), protocol=protocol))
        assert "holds an array of type 'O8'" in refuse(
            tmp_path, pickle.dumps(np.array([None, 1], dtype=object), protocol=protocol)
        )


# ------------------------------------------------------------------------------------------------ what is too much


def claim(shape, data=b"\0" * 8, kind="f8"):
    """A pickled array that says it has another shape than its bytes."""
    content = pickle.dumps(np.zeros(1), protocol=2)
    head = content[: content.index(b"K\x01K\x01\x85")]
    tail = content[content.index(b"K\x01K\x01\x85") + 5 :]
    return head + b"K\x01(" + b"".join(b"\x8a\x09" + n.to_bytes(9, "little", signed=True) for n in shape) + b"t" + tail


@pytest.mark.parametrize("shape", [(2,), (10**12,), (2**62, 2**62), (-1,), (1,) * 100, (0, 10**15)])
def test_arrays_that_claim_another_size_are_refused(tmp_path, shape):
    assert refuse(tmp_path, claim(shape)).startswith("is not a pickle")


def test_texts_that_claim_terabytes_are_refused(tmp_path):
    for opcode in (b"\x8d", b"\x8e", b"\x96"):
        assert refuse(tmp_path, b"\x80\x05" + opcode + (2**41).to_bytes(8, "little") + b"abc.").startswith("is not a pickle")
    assert refuse(tmp_path, b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.").startswith("is not a pickle")
    for content in (b"Nr\xff\xff\xff\x7f.", b"Nr\xff\xff\xff\xff.", b"Np999999999\n."):
        assert refuse(tmp_path, content).startswith("is not a pickle"), "a place in the memo makes all those before it"
    text = b"X" + (2**20).to_bytes(4, "little") + b"a" * 2**20 + b"q\x00X\x06\x00\x00\x00latin1q\x01c_codecs\nencode\nq\x02"
    assert refuse(tmp_path, text + b"h\x02h\x00h\x01\x86R" * 50_000 + b".").startswith("is not a pickle"), "50 GB of bytes"


def test_bombs_are_refused(tmp_path):
    laughs: list = ["ha"] * 10
    for _ in range(12):
        laughs = [laughs] * 10
    assert "many more values than a walk has" in refuse(tmp_path, pickle.dumps(laughs, protocol=4))
    array = np.zeros(1_000_000, np.uint8)
    assert "many more values than a walk has" in refuse(tmp_path, pickle.dumps([array] * 10_000, protocol=4))
    itself: list = []
    itself.append(itself)
    for content in (
        pickle.dumps(itself, protocol=4),
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b")" + b"\x85" * 200_000 + b".",
        b"](" + b"]" * 30 + b"a" * 29 + b"e.",
    ):
        assert "nested more than" in refuse(tmp_path, content)
    assert "holds a dict" in refuse(tmp_path, b"}" + b")" + b"\x85" * 200_000 + b"Ns."), "a deep key is not hashed"
    shared = b"]q\x00" + b"".join(b"](h%ceq%c" % (i, i + 1) for i in range(100)) + b"0" * 50 + b"."
    assert "nested more than" in refuse(tmp_path, shared)
    assert refuse(tmp_path, b"I" + b"9" * 100_000 + b"\n.").startswith("is not a pickle")
    assert "takes more than" in refuse(tmp_path, b"(" + b"N" * (pickles.MOST_STEPS + 10) + b"l.")


def test_large_empty_and_missing_files(tmp_path, monkeypatch):
    assert refuse(tmp_path, b"") == "is empty"
    with pytest.raises(Unusable, match="cannot be read"):
        load_array(tmp_path / "nothing.pkl")
    with pytest.raises(Unusable, match="cannot be read"):
        load_array(tmp_path)
    monkeypatch.setattr(pickles, "LARGEST_WALK", 2**20)
    assert refuse(tmp_path, pickle.dumps(np.zeros(2**18))) == "cannot be read: it has 2 MB, and more than 1 are not read"


def test_cut_off_pickles_are_refused(tmp_path):
    for protocol in PROTOCOLS:
        content = pickle.dumps([np.arange(6.0), {"a": 1}], protocol=protocol)
        for end in range(0, len(content), 3):
            refuse(tmp_path, content[:end])
