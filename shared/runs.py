"""The run folder through which a lab's notebooks pass their results: ``runs/<lab>/<profile>/<name>/<stage>/``.

A stage is written into a temporary folder beside its final path, flushed, described by ``manifest.json`` and moved into
place by renaming. A process killed at any moment leaves the previous valid stage or a resumable checkpoint, never a
truncated file that loads. Reading verifies the size and SHA-256 of every file; errors name the notebook to run.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shared import paths, run_files
from shared.errors import RunError
from shared.run_integrity import check_files, checked_manifest
from shared.run_stage import MANIFEST, SCHEMA_VERSION, Draft, Stage

STAGES = ("01-Setup", "02-Train", "03-Inference", "04-Merge_and_Deploy")
#: The two renames of a swap take milliseconds; a reader that falls between them waits this long [s].
SWAP_SECONDS = 2.0
#: How often a reader looks, 10 ms apart, before it believes that a stage is not there.
LOOKS = 5


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
            RunError: If a needed stage is incomplete, another process writes this stage, or a file is refused.
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
                self._finish(stage, partial, needed, seeds)
                self._swap(stage)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _finish(self, stage: str, partial: Path, needed: dict[str, str], seeds: Sequence[int]) -> None:
        """Check and flush the files, then write the manifest with their checksums: it lists only what is on disk."""
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
        """One writer at a time. The operating system drops the lock when its process dies, so no lock is ever stale."""
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
                check_files(place, manifest, self.label(stage), self._again(stage))
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
        expected = {"lab": self.lab, "profile": self.profile, "stage": stage, "name": self.name}
        return checked_manifest(content, f"{self.label(stage)}/{MANIFEST}", expected, self._again(stage))

    def stale(self, stage: Stage) -> list[str]:
        """Stages that were rewritten after the given stage had been made from them."""
        return [name for name, sha in stage.manifest["needs"].items() if self._sha_of(name) != sha]

    def _sha_of(self, stage: str) -> str | None:
        path = self.path / stage / MANIFEST
        return run_files.sha256(path) if path.exists() else None

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def checkpoints(self, stage: str, key: str = "") -> Path:
        """The folder for the Trainer's checkpoints; it is outside the stage, because it must survive a killed process.

        Args:
            stage: One of :data:`STAGES`.
            key: Separates training runs that must not resume from each other, for example ``"lora-r16-seed0"``.
        """
        self._known(stage)
        if key and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", key):
            raise RunError(f"checkpoint key {key!r} cannot be a folder's name", fix="use letters, digits and '-'")
        folder = self.path / "checkpoints" / stage / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def last_checkpoint(self, stage: str, key: str = "") -> Path | None:
        """The latest complete checkpoint, for ``trainer.train(resume_from_checkpoint=...)``."""
        self._known(stage)
        return run_files.last_checkpoint(self.path / "checkpoints" / stage / key)

    def clear_checkpoints(self, stage: str, key: str = "") -> None:
        """Remove the checkpoints of a stage (of one key, or all), so that training starts from the beginning."""
        self._known(stage)
        shutil.rmtree(self.path / "checkpoints" / stage / key, ignore_errors=True)

    # --- messages -----------------------------------------------------------------------------------------------------

    def label(self, stage: str) -> str:
        """The name of a stage in messages: relative to the checkout, so that no output shows an absolute path."""
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
                f"{self.label(stage)} is not there: its training run was killed before the end and left {latest.name}",
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
                    f"{self.label(stage)} is not there: its writer was killed before the end and left a partial folder",
                    fix=f"run {self.notebook(stage)} again: it replaces what was left",
                )
        except RunError:  # the lock is held by another process
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
