"""Run one program and its tests; :mod:`.code_execution` starts this file in a separate interpreter."""

import _thread
import contextlib
import json
import os
import sys

# Raised by Python itself (sys.addaudithook) before it does these things; a hook can't be removed again
REFUSED = ("os.", "shutil.", "subprocess.", "socket.", "ctypes.", "signal.", "resource.", "pty.", "_winapi.", "winreg.")
ALLOWED = ("os.listdir", "os.scandir", "os.walk", "os.putenv", "os.unsetenv")  # needed to import and to read
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def refuse(event, arguments):
    """Keep a program from starting processes and threads, from the network and from changing files."""
    if event == "open":
        _, mode, flags = arguments
        if set(mode or "") & set("wax+") or (flags or 0) & WRITING:
            raise PermissionError("a tested program may not write files")
    elif event.startswith(REFUSED) and event not in ALLOWED:
        raise PermissionError(f"a tested program may not use {event}")


def no_threads(*arguments, **settings):
    """Replaces what starts a thread: the system's limit of processes counts threads, but not for root."""
    raise PermissionError("a tested program may not start threads")


def limit(seconds, megabytes):
    """Limits of the operating system, as far as it has them (macOS refuses some, Windows has none)."""
    try:
        import resource
    except ImportError:
        return
    # NPROC stops what gets past the hook, but not for root
    limits = {"AS": megabytes << 20, "CPU": seconds, "FSIZE": 0, "CORE": 0, "NPROC": 0}
    for name, most in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def main():
    """Read the job, run it, and write its word if nothing failed."""
    job = json.load(sys.stdin.buffer)
    mouth, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    # both before the program runs, and by names of this function: a program may replace exec or os.write
    parts = [compile(job[name], name, "exec") for name in ("code", "tests")]
    word, run, say, space = job["word"].encode(), exec, os.write, {"__name__": "program"}
    limit(job["seconds"], job["megabytes"])
    _thread.start_new_thread = _thread.start_joinable_thread = no_threads
    sys.addaudithook(refuse)
    for part in parts:
        run(part, space)
    say(mouth, word)


main()
