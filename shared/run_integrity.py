"""Whether a stage of a run folder is what its manifest says: schema, origin, and the size and SHA-256 of each file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import run_files
from shared.errors import RunError
from shared.run_stage import SCHEMA_VERSION


def checked_manifest(content: bytes, where: str, expected: Mapping[str, str], again: str) -> dict[str, Any]:
    """Parse a manifest and compare where it belongs with where it was found.

    Args:
        content: The file's content.
        where: The name of the file in messages.
        expected: Lab, profile, stage and name of the folder it was found in.
        again: How to write the stage again.

    Raises:
        RunError: If it cannot be read, is of a newer schema, or belongs to another run.
    """
    try:
        manifest = json.loads(content)
        version = int(manifest["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{where} is damaged: it cannot be read", fix=again) from error
    if version > SCHEMA_VERSION:
        raise RunError(
            f"{where} was written by newer labs (schema {version}; these read up to {SCHEMA_VERSION})",
            fix=f"update this checkout, or rewrite it: {again}",
        )
    for key, mine in expected.items():
        if manifest.get(key) != mine:
            raise RunError(
                f"{where} belongs to {key} {manifest.get(key)!r}, not {mine!r}: the folder was copied or renamed",
                fix=f"give the notebook the {key} it was made with, or {again}",
            )
    if not isinstance(manifest.get("files"), dict):
        raise RunError(f"{where} is damaged: it lists no files", fix=again)
    return manifest


def check_files(folder: Path, manifest: Mapping[str, Any], label: str, again: str) -> None:
    """Compare each file with its size and SHA-256 in the manifest; refuse pickles that were added later.

    Args:
        folder: The stage's folder.
        manifest: What ``manifest.json`` says.
        label: The name of the folder in messages.
        again: How to write the stage again.

    Raises:
        RunError: Naming the first file that is missing, damaged or added.
    """
    listed = manifest["files"]
    for name, entry in listed.items():
        _check_file(folder / name, entry, f"{label}/{name}", again)
    # os.walk and not rglob: it tolerates a folder that a writer replaces in this moment
    found = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    for path in (path for path in found if path.suffix in run_files.PICKLES):
        name = path.relative_to(folder).as_posix()
        if name not in listed:
            raise RunError(
                f"{label}/{name} was added later; a pickle can run code when it is loaded",
                fix=f"remove it, or {again}",
            )


def _check_file(path: Path, entry: Mapping[str, Any], where: str, again: str) -> None:
    if not path.is_file():
        raise RunError(f"{where} is missing, although the manifest lists it", fix=again)
    try:
        size, sha = path.stat().st_size, run_files.sha256(path)
    except OSError as error:
        raise RunError(f"{where} cannot be read: {error.strerror}", fix=again) from error
    if size != entry["size"]:
        raise RunError(f"{where} is damaged: {size} bytes instead of {entry['size']}", fix=again)
    if sha != entry["sha256"]:
        raise RunError(f"{where} is damaged: its SHA-256 is not the manifest's", fix=again)
