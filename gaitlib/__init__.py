"""Gait recognition from 2D skeletons by motion, body and view codes."""

import sys

__version__ = "0.1.0"
# what checks notebooks loads a grammar of internet addresses where it finds one: seconds for what no notebook has
sys.modules.setdefault("rfc3987_syntax", None)


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do about it.

    The command line prints the message alone and exits with code 2.
    """

    bad_input = True


class Interrupted(KeyboardInterrupt):
    """Work that Ctrl-C, or the stop button of JupyterLab, ended in good order; the message says where, and how to go on."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence alone."""
        return [str(self)]


def sentence(error: BaseException) -> str:
    """What is said of an error, on one line, with the name of its type if it is not one of ours."""
    ours = isinstance(error, KeyboardInterrupt) or hasattr(error, "bad_input")
    return " ".join(f"{'' if ours else type(error).__name__ + ': '}{error}".split()) or "Stopped."
