"""Gait recognition from 2D skeletons by motion, body and view codes."""

__version__ = "0.1.0"


class InputError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do about it.

    The command line prints the message alone and exits with code 2.
    """
