"""What tools that record local variables show of an error."""

from __future__ import annotations

import io
import traceback

from rich.console import Console
from rich.traceback import Traceback


def shown_with_traceback(error: BaseException) -> str:
    """Return the traceback of an error and its causes, with local variables, of the standard library and of rich.

    The frame of the caller, which may hold a secret of the test, is left out.
    """
    frames = error.__traceback__
    error = error.with_traceback(frames and frames.tb_next)
    lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    console = Console(file=io.StringIO(), width=400)
    console.print(
        Traceback.from_exception(
            type(error), error, error.__traceback__, show_locals=True, locals_max_string=80, max_frames=0, width=400
        )
    )
    rich_text = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    return "".join(lines) + rich_text
