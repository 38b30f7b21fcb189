"""The run folder that a lab's notebooks hand to each other: ``runs/<lab>/<profile>/<name>/<stage>/``.

A stage is written into a partial folder beside its place, flushed, described by ``manifest.json`` and swapped in by
renaming. So a kill at any moment leaves the previous good stage or a resumable training checkpoint, never half a file
that loads. Reading verifies every file's size and SHA-256 and says which notebook to run where something is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from shared import paths, run_files
from shared.errors import RunError

SCHEMA_VERSION = 1
STAGES = ("01-Setup", "02-Train", "03-Inference", "04-Merge_and_Deploy")
MANIFEST = "manifest.json"
#: The two renames of a swap take milliseconds; a reader that falls between them waits this long [s].
SWAP_SECONDS = 2.0
#: How often a reader looks, 10 ms apart, before it believes that a stage is not there.
LOOKS = 5


@dataclass(frozen=True)
class Stage:
    """A stage that was read and verified.

    Attributes:
        path: Its folder.
        manifest: What ``manifest.json`` says.
        label: How messages call it, for example ``runs/Lab-01-LoRA/tiny/default/02-Train``.
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
                fix=f"run {self.manifest['lab']}/{self.manifest['stage']}.ipynb again: it may be older than this one",
            )
        return self.path / name

    def json(self, name: str) -> Any:
        """The content of a JSON file of the stage.

        Raises:
            RunError: If there is no such file, or the stage was written anew since it was read.
        """
        try:
            content = self.file(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):  # asking first would leave time for a swap
            content = b""
        if hashlib.sha256(content).hexdigest() != self.manifest["files"].get(name, {}).get("sha256"):
            raise RunError(
                f"{self.label}/{name} has changed since this stage was read: another process wrote the stage anew",
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
        """Where to write a file or folder; the folders above it are made.

        Raises:
            RunError: If the name leads out of the stage.
        """
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or name in ("", ".", MANIFEST):
            raise RunError(f"{self.label}: {name!r} is no name for a file in it", fix="give a relative name")
        target = self.path / pure
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def save_json(self, name: str, obj: Any) -> Path:
        """Write an object as JSON and return the file's path."""
        target = self.file(name)
        target.write_text(run_files.to_json(obj, f"{self.label}/{name}"), encoding="utf8")
        return target


class RunFolder:
    """One run of one lab: four stages, and the checkpoints of its training.

    Args:
        lab: The lab's folder name, for example ``Lab-01-LoRA``.
        profile: ``tiny``, ``laptop`` or ``full``.
        name: The notebook's ``RUN_NAME``.
        root: Folder above all labs; default :func:`shared.paths.runs_root`.

    Raises:
        RunError: If a part cannot be a folder's name.
    """

    def __init__(self, lab: str, profile: str, name: str = "default", root: Path | None = None):
        for what, value in (("lab", lab), ("profile", profile), ("RUN_NAME", name)):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", str(value)):
                raise RunError(
                    f"{what} {value!r} cannot be a folder's name", fix="use letters, digits, '.', '_' and '-'"
                )
        self.lab, self.profile, self.name = lab, profile, name
        self.root = Path(root) if root is not None else paths.runs_root()
        self.path = self.root / lab / profile / name

    def __repr__(self) -> str:
        return f"RunFolder({self.lab}/{self.profile}/{self.name})"

    # --- writing ---------------------------------------------------------------------------------------------------

    @contextmanager
    def write(self, stage: str, needs: Sequence[str] = (), seeds: Sequence[int] = ()) -> Iterator[Draft]:
        """Write a stage; nothing is visible to readers before the block ends without an exception.

        Args:
            stage: One of :data:`STAGES`.
            needs: Stages that this one was made from; they are verified first and their hashes recorded.
            seeds: Random seeds that the results depend on.

        Yields:
            The :class:`Draft` to put files into.

        Raises:
            RunError: If a needed stage is not whole, another process writes this stage, or a file must not be in it.
        """
        self._known(stage)
        needed = {name: run_files.sha256(self.read(name).path / MANIFEST) for name in needs}
        with self._lock(stage):
            self._recover(stage)
            partial = self._partial(stage)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                yield Draft(partial, self.label(stage))
                self._seal(stage, partial, needed, seeds)
                self._swap(stage)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _seal(self, stage: str, partial: Path, needed: dict[str, str], seeds: Sequence[int]) -> None:
        """Check and flush the files, then describe them; the manifest is last, so it only lists what is on the disk."""
        run_files.check_weights(partial, self.label(stage))
        files = {}
        for path in sorted(p for p in partial.rglob("*") if p.is_file()):
            run_files.fsync(path)
            entry = {"size": path.stat().st_size, "sha256": run_files.sha256(path)}
            files[path.relative_to(partial).as_posix()] = entry
        manifest = {
            "schema_version": SCHEMA_VERSION, "lab": self.lab, "stage": stage, "profile": self.profile,
            "name": self.name, "seeds": list(seeds), "python": platform.python_version(),
            "packages": run_files.package_versions(), "needs": needed, "files": files,
        }  # fmt: skip
        (partial / MANIFEST).write_text(run_files.to_json(manifest, MANIFEST), encoding="utf8")
        for path in [partial / MANIFEST, *(p for p in partial.rglob("*") if p.is_dir()), partial]:
            run_files.fsync(path)

    def _swap(self, stage: str) -> None:
        """Put the partial folder in the stage's place: two renames, undone by :meth:`_recover` if killed between."""
        place, old = self.path / stage, self._old(stage)
        if place.exists():
            place.rename(old)
        self._partial(stage).rename(place)
        run_files.fsync(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def _recover(self, stage: str) -> None:
        """After a kill (and under the lock): put the previous stage back if its place is empty, else drop it."""
        place, old = self.path / stage, self._old(stage)
        if not old.exists():
            return
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(place)

    @contextmanager
    def _lock(self, stage: str) -> Iterator[None]:
        """One writer at a time. The operating system drops the lock when its process dies, so none is ever stale."""
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / f".lock-{stage}", is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.label(stage)} is being written by another process",
                fix=f"wait for it, stop it, or give {self.notebook(stage)} another RUN_NAME",
            ) from None
        try:
            yield
        finally:
            lock.release()

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, stage: str) -> Stage:
        """Read a stage and verify it: schema, lab, stage, profile, and each file's size and SHA-256.

        Raises:
            RunError: Naming the file, what is wrong with it and the notebook to run.
        """
        self._known(stage)
        while True:
            before, place = self._settled(stage)
            manifest = self._checked_manifest(stage, before)
            try:
                self._verify(stage, place, manifest)
            except RunError:
                # A writer may have swapped the folder under our feet: then the manifest is another one now.
                if self._settled(stage)[0] == before:
                    raise
            else:
                return Stage(place, manifest, self.label(stage))

    def _settled(self, stage: str) -> tuple[bytes, Path]:
        """The stage's manifest and folder, after waiting for a swap in progress or undoing a killed one."""
        place, deadline, absent = self.path / stage, time.monotonic() + SWAP_SECONDS, 0
        while True:
            try:
                return (place / MANIFEST).read_bytes(), place
            except FileNotFoundError:
                absent += 1
                swapping = self._old(stage).exists()
                # Between two looks one swap may end and the next begin: only a lasting absence means "missing".
                if (absent > LOOKS and not swapping) or time.monotonic() > deadline:
                    raise self._missing(stage) from None
                if not swapping:
                    time.sleep(0.01)
                    continue
            try:
                with self._lock(stage):
                    self._recover(stage)
            except RunError:
                time.sleep(0.02)

    def _checked_manifest(self, stage: str, content: bytes) -> dict[str, Any]:
        where = f"{self.label(stage)}/{MANIFEST}"
        try:
            manifest = json.loads(content)
            version = int(manifest["schema_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{where} is damaged: it cannot be read", fix=self._again(stage)) from error
        if version > SCHEMA_VERSION:
            raise RunError(
                f"{where} was written by newer labs (schema {version}; these read up to {SCHEMA_VERSION})",
                fix=f"update this checkout, or write it anew: {self._again(stage)}",
            )
        for key, mine in (("lab", self.lab), ("profile", self.profile), ("stage", stage), ("name", self.name)):
            if manifest.get(key) != mine:
                raise RunError(
                    f"{where} belongs to {key} {manifest.get(key)!r}, not {mine!r}: the folder was copied or renamed",
                    fix=f"give the notebook the {key} it was made with, or {self._again(stage)}",
                )
        if not isinstance(manifest.get("files"), dict):
            raise RunError(f"{where} is damaged: it lists no files", fix=self._again(stage))
        return manifest

    def _verify(self, stage: str, place: Path, manifest: dict[str, Any]) -> None:
        listed = manifest["files"]
        for name, entry in listed.items():
            path, where = place / name, f"{self.label(stage)}/{name}"
            if not path.is_file():
                raise RunError(f"{where} is missing, although the manifest lists it", fix=self._again(stage))
            try:
                size, sha = path.stat().st_size, run_files.sha256(path)
            except OSError as error:
                raise RunError(f"{where} cannot be read: {error.strerror}", fix=self._again(stage)) from error
            if size != entry["size"]:
                raise RunError(f"{where} is damaged: {size} bytes instead of {entry['size']}", fix=self._again(stage))
            if sha != entry["sha256"]:
                raise RunError(f"{where} is damaged: its SHA-256 is not the manifest's", fix=self._again(stage))
        # os.walk and not rglob: it does not mind a folder that a writer swaps away in this moment
        found = [Path(folder, name) for folder, _, names in os.walk(place) for name in names]
        for path in (path for path in found if path.suffix in run_files.PICKLES):
            name = path.relative_to(place).as_posix()
            if name not in listed:
                raise RunError(
                    f"{self.label(stage)}/{name} was put there later; a pickle can run code when it is loaded",
                    fix=f"remove it, or {self._again(stage)}",
                )

    def stale(self, stage: Stage) -> list[str]:
        """Stages that were written again after the given one was made from them."""
        return [name for name, sha in stage.manifest["needs"].items() if self._sha_of(name) != sha]

    def _sha_of(self, stage: str) -> str | None:
        path = self.path / stage / MANIFEST
        return run_files.sha256(path) if path.exists() else None

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def checkpoints(self, stage: str, key: str = "") -> Path:
        """The folder for the Trainer's checkpoints; it is outside the stage, because it must outlive a kill.

        Args:
            stage: One of :data:`STAGES`.
            key: Keeps trainings apart that must not resume from each other, for example ``"lora-r16-seed0"``.
        """
        self._known(stage)
        if key and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", key):
            raise RunError(f"checkpoint key {key!r} cannot be a folder's name", fix="use letters, digits and '-'")
        folder = self.path / "checkpoints" / stage / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def last_checkpoint(self, stage: str, key: str = "") -> Path | None:
        """The latest checkpoint that was written to its end, for ``trainer.train(resume_from_checkpoint=...)``."""
        self._known(stage)
        return run_files.last_checkpoint(self.path / "checkpoints" / stage / key)

    def clear_checkpoints(self, stage: str, key: str = "") -> None:
        """Remove the checkpoints of a stage (of one key, or all), so that the next training starts anew."""
        self._known(stage)
        shutil.rmtree(self.path / "checkpoints" / stage / key, ignore_errors=True)

    # --- words -----------------------------------------------------------------------------------------------------

    def label(self, stage: str) -> str:
        """How messages call a stage: from ``runs/`` on, so that no output shows where the checkout lies."""
        return f"runs/{self.lab}/{self.profile}/{self.name}/{stage}"

    def notebook(self, stage: str) -> str:
        """The notebook that writes a stage."""
        return f"{self.lab}/{stage}.ipynb"

    def _again(self, stage: str) -> str:
        return f"run {self.notebook(stage)} again (profile {self.profile}, RUN_NAME {self.name!r})"

    def _missing(self, stage: str) -> RunError:
        """Why a stage is not there: never written, killed, or written for another profile or run name."""
        run = f"{self.notebook(stage)} first (profile {self.profile}, RUN_NAME {self.name!r})"
        checkpoints = [run_files.last_checkpoint(folder) for folder in self._checkpoint_folders(stage)]
        resumable = [path for path in checkpoints if path is not None]
        if resumable:
            latest = max(resumable, key=lambda path: int(path.name.removeprefix("checkpoint-")))
            return RunError(
                f"{self.label(stage)} is not there: its training was killed before the end and left {latest.name}",
                fix=f"run {self.notebook(stage)} again: it resumes from {latest.name}",
            )
        if self._partial(stage).exists() or (self.path / stage).exists():
            return self._half_written(stage)
        others = sorted(p.parents[1] for p in (self.root / self.lab).glob(f"*/*/{stage}/{MANIFEST}"))
        found = "; there is one for " + ", ".join(f"profile {p.parent.name}, RUN_NAME {p.name!r}" for p in others)
        return RunError(f"{self.label(stage)} is not there{found if others else ''}", fix=f"run {run}")

    def _half_written(self, stage: str) -> RunError:
        try:
            with self._lock(stage):
                return RunError(
                    f"{self.label(stage)} is not there: writing it was killed before the end and left a partial folder",
                    fix=f"run {self.notebook(stage)} again: it replaces what was left",
                )
        except RunError:  # the lock is held, so somebody is at it
            return RunError(
                f"{self.label(stage)} is not there yet: another process is writing it", fix="wait for it to end"
            )

    def _checkpoint_folders(self, stage: str) -> list[Path]:
        folder = self.path / "checkpoints" / stage
        return [folder, *(p for p in folder.glob("*") if p.is_dir() and not p.name.startswith("checkpoint-"))]

    def _known(self, stage: str) -> None:
        if stage not in STAGES:
            raise RunError(f"there is no stage {stage!r}", fix=f"choose one of: {', '.join(STAGES)}")

    def _partial(self, stage: str) -> Path:
        return self.path / f".partial-{stage}"

    def _old(self, stage: str) -> Path:
        return self.path / f".old-{stage}"


def fingerprint(obj: Any) -> str:
    """Twelve hexadecimal digits of any JSON-able object, to build checkpoint keys from a resolved configuration."""
    return hashlib.sha256(run_files.to_json(obj, "fingerprint").encode()).hexdigest()[:12]
