"""Errors of a command as messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable

from shared.errors import PeftLabsError
from shared.library_notices import hide_library_notices


def exit_code(run: Callable[[], None]) -> int:
    """Run a command.

    Args:
        run: The command, once its arguments are parsed.

    Returns:
        0, or 1 after an error, which is printed with its fix.
    """
    hide_library_notices()
    try:
        run()
    except PeftLabsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
