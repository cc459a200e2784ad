"""Gait recognition from 2D skeletons by motion, body and view codes."""

__version__ = "0.1.0"


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do about it.

    The command line prints the message alone and exits with code 2.
    """


class Interrupted(KeyboardInterrupt):
    """Work that Ctrl-C, or the stop button of JupyterLab, ended in good order; the message says where, and how to go on."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence alone."""
        return [str(self)]
