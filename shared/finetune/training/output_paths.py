"""Where the command line writes: a lab's run folder, or the plain folder that the configuration names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.files import new_folder, write_json
from shared.finetune.common.processes import world_size
from shared.run_files import last_checkpoint
from shared.runs import RunFolder, fingerprint

if TYPE_CHECKING:
    from shared.finetune.config import Config

STAGE = "02-Train"
WITHOUT_EFFECT = (  # keys of training: that do not change the weights
    "output_dir", "logging_dir", "report_to", "run_name", "project", "disable_tqdm", "save_steps", "save_total_limit",
)  # fmt: skip


class Output(Protocol):
    """Where a run writes: checkpoints that survive a kill, and a result folder that is written atomically."""

    def checkpoints(self, key: str) -> Path: ...
    def last_checkpoint(self, key: str) -> Path | None: ...
    def clear_checkpoints(self, key: str) -> None: ...
    def key(self, config: Config, seed: int) -> str: ...
    def write(self, fill: Callable[[Path], None], seeds: Sequence[int]) -> Path: ...


def output_for(file: str | Path, config: Config, run_name: str = "cli") -> Output:
    """A lab's configuration goes to that lab's run folder; any other, or one with ``training.output_dir``, to a folder.

    Args:
        file: The configuration's file: ``Lab-…/configs/<profile>.yaml`` belongs to a lab.
        config: The configuration.
        run_name: Name of the lab's run.
    """
    path = Path(file).resolve()
    if config.training.output_dir is None and path.parent.name == "configs" and path.parents[1].name.startswith("Lab-"):
        return LabOutput(RunFolder(path.parents[1].name, path.stem, run_name))
    return FolderOutput(Path(config.training.output_dir or f"outputs/{config.task_name}"))


def checkpoint_key(config: Config, seed: int) -> str:
    """Distinguishes runs that must not resume from each other: a hash of everything that decides the weights."""
    decides = {name: value for name, value in config.given().items() if name not in ("evaluation", "lab")}
    training = decides.get("training", {})
    decides["training"] = {name: value for name, value in training.items() if name not in WITHOUT_EFFECT}
    if training.get("metric_for_best_model", "loss").removeprefix("eval_") != "loss":
        decides["evaluation"] = config.given().get("evaluation")  # the best checkpoint is chosen by it
    if world_size() > 1:
        decides["processes"] = world_size()  # each has its own rows and random numbers
    return f"{config.peft.method}-seed{seed}-{fingerprint(decides)}"


@dataclass
class LabOutput:
    """The run folder of a lab (:mod:`shared.runs`)."""

    run: RunFolder

    def key(self, config: Config, seed: int) -> str:
        return checkpoint_key(config, seed)

    def checkpoints(self, key: str) -> Path:
        return self.run.checkpoints(STAGE, key)

    def last_checkpoint(self, key: str) -> Path | None:
        return self.run.last_checkpoint(STAGE, key)

    def clear_checkpoints(self, key: str) -> None:
        self.run.clear_checkpoints(STAGE, key)

    def write(self, fill: Callable[[Path], None], seeds: Sequence[int]) -> Path:
        with self.run.write(STAGE, seeds=list(seeds)) as out:
            fill(out.path)
        return self.run.path / STAGE


@dataclass
class FolderOutput:
    """A plain output folder; the checkpoints are next to it until the end."""

    path: Path

    def key(self, config: Config, seed: int) -> str:
        return checkpoint_key(config, seed)

    def checkpoints(self, key: str) -> Path:
        folder = self._beside(key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def last_checkpoint(self, key: str) -> Path | None:
        return last_checkpoint(self._beside(key))

    def clear_checkpoints(self, key: str) -> None:
        shutil.rmtree(self._beside(key), ignore_errors=True)

    def write(self, fill: Callable[[Path], None], seeds: Sequence[int]) -> Path:
        from shared.run_files import package_versions

        with new_folder(self.path) as out:
            fill(out)
            write_json(out / "run.json", {"seeds": list(seeds), "packages": package_versions()})
        return self.path

    def _beside(self, key: str) -> Path:
        return self.path.parent / f"{self.path.name}-checkpoints" / key
