"""The output of a batch inference while it is written: after a kill, finished answers are not computed again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.files import write_json
from shared.run_files import sha256

if TYPE_CHECKING:
    from shared.finetune.config import Config

SUFFIXES = (".json", ".jsonl")
WEIGHTS = ("*.safetensors", "*.json")


class OutputFile:
    """Answers, in the inputs' order, as .json (one list) or .jsonl (one object per line).

    They are collected in a hidden file next to the output, which is renamed at the end. The hidden file's name contains
    the digest of everything the answers depend on (:func:`digest_of`), so that it is never continued with other inputs.

    Attributes:
        done: Number of inputs that an interrupted run has answered.
        discarded: Number of such answers that were deleted, without ``resume``.

    Args:
        output: The file to write.
        digest: What the answers depend on.
        resume: Whether an interrupted run's answers are kept.

    Raises:
        DataError: If the suffix is unknown, or the interrupted run had other inputs, model or settings.
    """

    def __init__(self, output: Path, digest: str, resume: bool = False):
        check_suffix(output)
        self.output = output
        self.done = self.discarded = 0
        self._part = output.with_name(f".{output.name}.{digest[:16]}.part")
        output.parent.mkdir(parents=True, exist_ok=True)
        others = [one for one in output.parent.glob(f".{output.name}.*.part") if one != self._part]
        if resume and others and not self._part.is_file():
            raise DataError(
                f"the interrupted run that wrote to {output} had other inputs, another model or other settings",
                fix=f"repeat its exact command with --resume, or remove {others[0]} and start without",
            )
        self._begin(resume, others)

    def _begin(self, resume: bool, others: Sequence[Path]) -> None:
        """Keep complete lines only: the last one may have been cut off by a kill."""
        if resume and self._part.is_file():
            with self._part.open("r+b") as file:
                sizes = [len(line) for line in file if line.endswith(b"\n")]
                file.truncate(sum(sizes))
            self.done = len(sizes)
            return
        for part in (self._part, *others):
            if part.is_file():
                self.discarded += part.read_bytes().count(b"\n")
                part.unlink()
        self._part.touch()

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add answers; they are on disk when this returns."""
        with self._part.open("ab") as file:
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> tuple[int, int]:
        """Write the output under its own name.

        Returns:
            The number of answers and of invalid rows.
        """
        with self._part.open(encoding="utf-8") as file:
            answered = ["answer" in json.loads(line) for line in file]
        if self.output.suffix == ".json":
            with self._part.open(encoding="utf-8") as file:
                write_json(self.output, [json.loads(line) for line in file])
            self._part.unlink()
        else:
            os.replace(self._part, self.output)
        return sum(answered), len(answered) - sum(answered)


def check_suffix(output: Path) -> None:
    """Refuse an output with an unknown suffix.

    Raises:
        DataError: With the known suffixes.
    """
    if output.suffix not in SUFFIXES:
        raise DataError(f"{output}: output files are {', '.join(SUFFIXES)}", fix="change the suffix")


def digest_of(inputs: Path | str, config: Config, model: Path | None) -> str:
    """What the answers depend on: the inputs' bytes, the configuration, the model's files.

    The batch size is left out: after running out of memory, a run may be resumed with a smaller one.

    Args:
        inputs: The input file, or the text.
        config: The configuration.
        model: The adapter's or model's folder; its files count by name, size and time. None: the untuned base.
    """
    files = [path for pattern in WEIGHTS for path in sorted(model.glob(pattern))] if model else []
    stamps = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    settings = config.model_dump(mode="json", include={"task_type", "model", "peft", "dataset", "evaluation"})
    settings["evaluation"].pop("batch_size")
    told = inputs if isinstance(inputs, str) else sha256(inputs)
    parts = {"inputs": told, "config": settings, "model": stamps}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
