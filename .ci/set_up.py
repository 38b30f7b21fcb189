"""Create .venv from requirements.lock, with short progress lines.

Run as ``python3 -I .ci/set_up.py [TORCH]`` (the Makefile does). It uses only the standard library, because it
runs before anything is installed, and no syntax newer than Python 3.6, so that an old Python can print what is wrong.
A second run does nothing unless the lock, pyproject.toml or the requested torch build changed.

TORCH is ``default`` (the choice of pip), or a build that uv knows: ``cpu``, ``cu126``, ``auto`` ...
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python")
LOCK = os.path.join(ROOT, "requirements.lock")
STAMP = os.path.join(VENV, "set-up.json")
LOG = os.path.join(VENV, "set-up.log")
STEP = re.compile(r"^(Collecting|Processing|Downloading|Building|Installing|Requirement already|Successfully)")


def digest():
    """Checksum of the files that determine what is installed."""
    text = b""
    for name in ("requirements.lock", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            text += file.read()
    return hashlib.sha256(text).hexdigest()


def state():
    """What the last complete set-up wrote, or an empty dictionary."""
    try:
        with open(STAMP, encoding="utf8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def pinned(package):
    """The lock's exact requirement of one package, for example ``torch==2.13.0``."""
    with open(LOCK, encoding="utf8") as file:
        return next(line.split(";")[0].strip() for line in file if line.startswith(package + "=="))


def fail(what, fix):
    sys.exit("\nset-up stopped: " + what + "\n  fix: " + fix)


def run(title, command, packages=0):
    """Run one step; show its title, its progress and its time; on an error the end of the log.

    Args:
        title: What the step does.
        command: The command line.
        packages: Number of packages, if known.
    """
    began, seen, terminal = time.time(), 0, sys.stdout.isatty()
    print("  " + title + " ...", end="" if terminal else "\n", flush=True)
    environment = dict(os.environ, DS_BUILD_OPS="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUNBUFFERED="1")
    with open(LOG, "a", encoding="utf8") as log:
        log.write("\n$ " + " ".join(command) + "\n")
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=environment, cwd=ROOT, universal_newlines=True, **pipe)
        for line in process.stdout:
            log.write(line)
            if not STEP.match(line):
                continue
            seen += line.startswith(("Collecting", "Processing", "Requirement already"))
            word = line.split()
            now = word[0].lower() + " " + " ".join(word[1:2]).split("==")[0][:40]
            if line.startswith("Installing collected"):
                now = "unpacking and installing"
            count = f"{min(seen, packages)}/{packages} " if packages else ""
            if terminal:
                print("\r\033[K  " + title + " ... " + count + now, end="", flush=True)
            elif packages and (seen % 50 == 0 and not line.startswith("Downloading") or now.startswith("unpacking")):
                print("    " + count + now, flush=True)
    if process.wait() != 0:
        with open(LOG, encoding="utf8") as log:
            print("\n" + "".join(log.readlines()[-15:]))
        fix = "read .venv/set-up.log (a network or a full disk?), then run the same command again"
        fail(f"'{title}' failed (exit code {process.returncode})", fix)
    done = f"done in {int(time.time() - began)} s"
    print(f"\r\033[K  {title}: {done}" if terminal else f"    {done}", flush=True)


def create():
    """Create .venv unless a working one with a new enough Python exists."""
    if sys.version_info < (3, 11):
        found = ".".join(map(str, sys.version_info[:2]))
        fail(f"Python {found} is too old, 3.11 or newer is needed", "choose a newer one: make PYTHON=python3.11 setup")
    working = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    if os.path.exists(PYTHON) and subprocess.call([PYTHON, "-c", working], stderr=subprocess.DEVNULL) == 0:
        return
    import venv

    print("  creating .venv with Python " + sys.version.split()[0], flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=True, symlinks=os.name != "nt", prompt="peft-labs")
    except subprocess.CalledProcessError:
        fix = "install the package python3-venv (Debian, Ubuntu) or another Python 3.11+"
        fail("this Python cannot install pip into a virtual environment", fix)


def install(torch):
    """Install torch in the requested build, then the rest of the lock, then this package."""
    pip = [PYTHON, "-m", "pip", "install", "--progress-bar", "off"]
    if torch == "default":
        run(f"[1/3] {pinned('torch')} (the default build)", pip + ["-c", LOCK, pinned("torch")])
    else:
        run("[1/3] uv, which picks the torch build", pip + ["-c", LOCK, "uv"])
        uv = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, "--constraint", LOCK]
        uv += ["--torch-backend=" + torch, "--reinstall-package", "torch", pinned("torch")]
        run(f"[1/3] {pinned('torch')} (build: {torch})", uv)
    with open(LOCK, encoding="utf8") as file:
        packages = sum("==" in line and not line.startswith("#") for line in file)
    run(f"[2/3] {packages} pinned packages", pip + ["-r", LOCK], packages)
    run("[3/3] peft-labs itself, editable", pip + ["--no-deps", "-e", ROOT])


def main(torch):
    known, wanted = state(), torch or "default"
    same_build = not torch or known.get("torch") == torch
    if known.get("digest") == digest() and same_build and os.path.exists(PYTHON):
        return
    if not torch:
        wanted = known.get("torch", "default")  # a build chosen earlier is kept until another one is requested
    print("set-up: .venv from requirements.lock (a few minutes the first time; details in .venv/set-up.log)")
    create()
    if os.path.exists(STAMP):
        os.remove(STAMP)
    install(wanted)
    with open(STAMP + ".new", "w", encoding="utf8") as file:
        json.dump({"digest": digest(), "torch": wanted}, file)
    os.replace(STAMP + ".new", STAMP)
    print("set-up: ready. `source .venv/bin/activate` adds `peft-labs` and `jupyter lab` to your path")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
