"""The peers' own environments: each in a venv of its own, so that none runs on libraries it was not made for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Peer:
    """One other program.

    Attributes:
        name: Its name in the tables.
        install: Arguments of ``pip install``, one list per call.
        shows: The packages whose versions are recorded.
        stubs: Empty modules that it imports and doesn't use here.
    """

    name: str
    install: tuple[tuple[str, ...], ...]
    shows: tuple[str, ...]
    stubs: tuple[str, ...] = ()


PEERS = {
    "trl": Peer(
        "trl",
        ((TORCH,), ("trl==1.16.0", "peft==0.21.2", "accelerate==1.15.0", "datasets==5.0.1", "transformers==4.57.6")),
        ("trl", "transformers", "peft", "torch"),
    ),
    # --no-deps: its own requirements name an older torch and audio packages, of which text needs nothing
    "llamafactory": Peer(
        "LLaMA-Factory",
        (
            (TORCH,),
            ("transformers==4.57.6", "peft==0.18.1", "trl==0.24.0", "accelerate==1.11.0", "datasets==4.0.0"),
            ("fire", "omegaconf", "sentencepiece", "tiktoken", "einops", "matplotlib", "scipy", "pandas", "uvicorn",
             "fastapi", "sse-starlette", "pydantic", "av<=16", "protobuf", "tyro<0.9", "hf-transfer"),
            ("--no-deps", "llamafactory==0.9.5"),
        ),
        ("llamafactory", "transformers", "peft", "trl", "torch"),
        ("torchaudio",),
    ),
}  # fmt: skip


def environment(key: str) -> Path:
    """The ``bin`` folder of a peer's environment; made at the first call (several hundred MB)."""
    peer = PEERS[key]
    folder = user_cache_path("peft-labs") / "peers" / key
    done = folder / "installed.txt"
    wanted = repr(peer)
    bin_ = folder / ("Scripts" if sys.platform == "win32" else "bin")
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return bin_
    print(f"installing {peer.name} into {folder} …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    for arguments in peer.install:
        subprocess.run([str(bin_ / "python"), "-m", "pip", "install", "-q", *arguments], check=True)
    for stub in peer.stubs:
        code = f"import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), '{stub}.py').touch()"
        subprocess.run([str(bin_ / "python"), "-c", code], check=True)
    done.write_text(wanted, encoding="utf-8")
    return bin_


def peer_versions(key: str) -> dict[str, str]:
    """What is installed for a peer."""
    code = (
        f"import importlib.metadata as m; print(*[f'{{n}} {{m.version(n)}}' for n in {PEERS[key].shows!r}], sep='\\n')"
    )
    found = subprocess.run(
        [str(environment(key) / "python"), "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split(" ", 1) for line in found.splitlines())
