"""One stage of a run folder: while it is written (:class:`Draft`) and after it was read (:class:`Stage`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shared import run_files
from shared.errors import RunError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Stage:
    """A stage that was read and verified.

    Attributes:
        path: Its folder.
        manifest: What ``manifest.json`` says.
        label: Its name in messages, for example ``runs/Lab-01-LoRA/tiny/default/02-Train``.
    """

    path: Path
    manifest: dict[str, Any]
    label: str

    def file(self, name: str) -> Path:
        """A file or folder of the stage, by its name with forward slashes.

        Raises:
            RunError: If the manifest lists no such file.
        """
        listed = self.manifest["files"]
        if name not in listed and not any(entry.startswith(name.rstrip("/") + "/") for entry in listed):
            raise RunError(
                f"{self.label} has no {name}; it holds: {', '.join(sorted(listed))}",
                fix=f"run {self.manifest['lab']}/{self.manifest['stage']}.ipynb again: it may be older than this",
            )
        return self.path / name

    def json(self, name: str) -> Any:
        """The content of a JSON file of the stage.

        Raises:
            RunError: If there is no such file, or the stage was rewritten since it was read.
        """
        try:
            content = self.file(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):  # asking first would leave time for a swap
            content = b""
        if hashlib.sha256(content).hexdigest() != self.manifest["files"].get(name, {}).get("sha256"):
            raise RunError(
                f"{self.label}/{name} has changed since this stage was read: another process rewrote the stage",
                fix="restart this notebook from its first cell",
            )
        return json.loads(content)

    @property
    def size(self) -> int:
        """Size of all files together [bytes]."""
        return sum(entry["size"] for entry in self.manifest["files"].values())

    def __repr__(self) -> str:
        return f"Stage({self.label}: {len(self.manifest['files'])} files, {self.size / 1e6:.2f} MB)"


class Draft:
    """A stage while it is being written; :attr:`path` is its partial folder."""

    def __init__(self, path: Path, label: str):
        self.path, self.label = path, label

    def file(self, name: str) -> Path:
        """The path to write a file or folder to; its parent folders are created.

        Raises:
            RunError: If the name leads out of the stage.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or name in ("", ".", MANIFEST):
            raise RunError(f"{self.label}: {name!r} is not a valid file name", fix="give a relative path")
        target = self.path / pure
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def save_json(self, name: str, obj: Any) -> Path:
        """Write an object as JSON and return the file's path."""
        target = self.file(name)
        target.write_text(run_files.to_json(obj, f"{self.label}/{name}"), encoding="utf8")
        return target
