"""What operators see and do.

The commands (one module each, with ``add_arguments`` and ``run``), the status page, the checks, and
the words for codes, times and sizes.
"""

from dataclasses import dataclass


class CommandFailed(Exception):
    """A command can't do what it was asked: one line for stderr, and the exit status."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, or could not be (``ok`` is ``None``); ``to_do`` is what would
    mend it, if it is not ``ok``."""

    what: str
    ok: bool | None
    said: str
    to_do: str = ""
