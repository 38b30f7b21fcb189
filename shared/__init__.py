"""Plumbing of the PEFT labs: everything that is not the method itself."""

import logging

# When peft imports bitsandbytes, that reports that a kernel of the Hub is absent; it has one of its own. It is set here
# because the import may come before a command or a notebook calls shared.library_notices.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

__version__ = "0.1.0"
