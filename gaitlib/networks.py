"""Networks by name: which class a configuration or a checkpoint means, and whose code may be imported.

A name is "module:Class" or "file.py:Class". Those of gaitlib itself are always known. Any other code is imported only after
`give`, for a name that the user wrote in a configuration or on the command line: a run folder may come from anybody.
"""

import importlib
import inspect
import json
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType

from gaitlib import InputError
from gaitlib.files import read_bytes
from gaitlib.fingerprints import code_fingerprint, file_fingerprint

#: The names that the user gave, as JSON: name -> its file, or "" for a module. Kernels and points of grids inherit it.
GIVEN = "GAITLIB_NETWORKS"
_OURS = "gaitlib."
#: Bytes of the largest file that is imported.
_MOST_CODE = 2**20


def _given() -> dict[str, str]:
    return json.loads(os.environ.get(GIVEN) or "{}")


def short(name: str) -> str:
    """The name by which checkpoints know a network: without the folder of its file."""
    place, _, cls = name.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{cls}"


def give(name: str, beside: str | Path = "") -> None:
    """Let a network be imported, by this process and those that it starts.

    name: as the user wrote it, or "" for none. A file is looked up in the working folder, then in the folder `beside`.
    Raises InputError if two files of one name hold networks of one name, which checkpoints cannot tell apart.
    """
    if not name or is_ours(name):
        return
    place, given = Path(name.rpartition(":")[0]), _given()
    file = place if os.path.isfile(place) else Path(beside) / place
    path = str(file.absolute()) if place.suffix == ".py" else ""
    before = given.get(short(name), path)
    if before != path and os.path.isfile(before):
        raise InputError(f"{before} and {path} both hold a network called {short(name)}; rename one of the files.")
    os.environ[GIVEN] = json.dumps(given | {short(name): path})


def is_ours(name: str) -> bool:
    """Whether a network is part of gaitlib."""
    return name.startswith(_OURS)


def check_given(name: str, where: str | Path) -> None:
    """Raise InputError for a network that is neither part of gaitlib nor given by the user. where: what names it."""
    if name and not is_ours(name) and short(name) not in _given():
        raise InputError(
            f"{where} names the network {name}, which is not part of gaitlib, and its code is not run because a run names it; if "
            f"you trust it, add --network {shlex.quote(name)} (in Python: gaitlib.networks.give({name!r}))."
        )


def _file(name: str) -> str:
    """The file that the user gave for a network, "" for a module; InputError if nobody gave it."""
    check_given(name, "The configuration")
    return _given()[short(name)]


def network_class(name: str) -> type:
    """The class of a network.

    Raises InputError if the user did not give it, it cannot be imported, or it is no torch.nn.Module.
    """
    from torch import nn

    module, _, cls = name.rpartition(":")
    path = "" if is_ours(name) else _file(name)
    try:
        found = getattr(_imported(Path(path)) if path else importlib.import_module(module), cls)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"The network {name} cannot be imported ({type(error).__name__}: {error}).") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"The network {name} is not a class of networks; derive it from torch.nn.Module.")
    return found


def _imported(path: Path) -> ModuleType:
    """The module in a file as it is now, which a cached one may not be; nothing is written beside the file."""
    module = ModuleType(f"network_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for their own
    exec(compile(read_bytes(path, _MOST_CODE), path, "exec"), module.__dict__)
    return module


def network_fingerprint(name: str) -> str:
    """SHA-256 of the code of a network: of its module and the modules of gaitlib that it imports, or of its file alone.

    What a file of the user imports in turn does not count. Raises InputError as `network_class` does.
    """
    if is_ours(name):
        try:
            return code_fingerprint(name.rpartition(":")[0])
        except ValueError as error:
            raise InputError(f"The network {name} does not exist: {error}") from None
    return file_fingerprint(Path(_file(name) or inspect.getfile(network_class(name))))
