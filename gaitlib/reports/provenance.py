"""Where a result comes from: the code, the data, the configuration, the machine, and when."""

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path

import gaitlib
from gaitlib.fingerprints import fingerprint

_PACKAGE = Path(gaitlib.__file__).resolve().parent


def provenance(
    *,
    config: dict,
    protocol: dict,
    data: dict,
    data_fingerprint: str,
    seed: int,
    stage_seconds: dict,
    start: datetime | None = None,
) -> dict:
    """What provenance.json holds; nothing in it names the computer, its user, or a folder.

    config: the fully resolved configuration; only its fingerprint is kept. data: name and citation of the data set, and whether
    it is synthetic. stage_seconds: in the order the stages ran.
    start: when the run began; by default now minus the sum of `stage_seconds`. A time without a zone is local time.
    """
    start = start or datetime.now().astimezone() - timedelta(seconds=sum(stage_seconds.values()))
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "config_fingerprint": fingerprint(config),
        "data_fingerprint": data_fingerprint,
        "data": data,
        "protocol": protocol,
        "seed": seed,
        "start": start.astimezone().isoformat(timespec="seconds"),
        "stage_seconds": {stage: round(float(seconds), 3) for stage, seconds in stage_seconds.items()},
        "versions": _versions(),
        "hardware": _hardware(),
    }


def _said(*command: str) -> str | None:
    """The output of a command; None if it fails or does not exist."""
    # inside a git hook, GIT_DIR and similar variables would point to another repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the repository that tracks gaitlib, and whether the working tree differs from it."""
    git = ("git", "-C", str(_PACKAGE))
    if _said(*git, "ls-files", "--error-unmatch", "__init__.py") is None:  # installed, maybe inside somebody else's repository
        return None, None
    commit, changes = _said(*git, "rev-parse", "HEAD"), _said(*git, "status", "--porcelain")
    return commit, None if commit is None or changes is None else bool(changes)


def _versions() -> dict[str, str | None]:
    """Installed versions of Python, gaitlib, and each package that pyproject.toml requires."""
    versions = {"python": platform.python_version(), "gaitlib": gaitlib.__version__}
    with suppress(metadata.PackageNotFoundError):
        needed = [requirement for requirement in metadata.requires("gaitlib") or [] if "extra ==" not in requirement]
        for name in (re.match(r"[\w.-]+", requirement)[0] for requirement in needed):
            versions[name] = None
            with suppress(metadata.PackageNotFoundError):
                versions[name] = metadata.version(name)
    return versions


def _hardware() -> dict:
    """Name of the processor, cores (all, usable by this process, threads of torch), memory in GiB, and names of the GPUs."""
    import torch  # takes a second, and only this function needs it

    usable, memory = os.cpu_count(), None
    with suppress(AttributeError, ValueError, OSError):  # Windows has neither, macOS not the last
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        usable = len(os.sched_getaffinity(0))
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "threads": torch.get_num_threads(),
        "memory_gib": memory,
        "gpus": gpus or ["Apple GPU"] * torch.backends.mps.is_available(),
    }


def _cpu_name() -> str:
    if sys.platform == "darwin":
        return _said("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor()
    with suppress(OSError):
        if name := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return name[1].strip()
    return platform.processor()
