"""The error that a user can act on."""

from __future__ import annotations

__all__ = ["TinybertError"]


class TinybertError(Exception):
    """Bad input or a machine that cannot do what was asked.

    The message is one sentence that says what is wrong and the way out. The command line prints
    it without a traceback and exits with code 2.

    >>> raise TinybertError("teacher 'x' has no config.json: give a model directory")
    Traceback (most recent call last):
    tinybert.errors.TinybertError: teacher 'x' has no config.json: give a model directory
    """
