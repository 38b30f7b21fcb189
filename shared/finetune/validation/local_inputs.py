"""Architecture, tokenizer and rows of a configuration, as far as they are on this machine; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError, ModelError, PeftLabsError
from shared.finetune.config import Config
from shared.finetune.data.loading import SUFFIXES, load_rows
from shared.finetune.models.offline import tasks_of
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PretrainedConfig

CLASSES = {"SEQ_CLS": 2, "TOKEN_CLS": 9}  # what a head is taken to have where the data can't be read


@dataclass
class LocalInputs:
    """Looks things up once for all checks of a configuration.

    Attributes:
        config: The configuration.
        trains: Whether the rows to train on are read.
        scored: The split that is scored; None: none.
    """

    config: Config
    trains: bool = True
    scored: str | None = "test"
    _rows: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def about(self) -> tuple[PretrainedConfig, str] | None:
        """The architecture's configuration and where it comes from; None where it is not on this machine.

        Raises:
            ModelError: If it should be on this machine and is not, or can't be read.
        """
        from transformers import AutoConfig

        from shared.finetune.models import resolve

        name = self.config.model.name_or_path
        if not name or not fetched_already(name):
            return None
        folder = Path(resolve(name))
        if not folder.is_dir():
            return _reference(name)
        try:
            return AutoConfig.from_pretrained(folder), "its config.json"
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{name}: its config.json can't be read: {error}", fix="check the folder") from error

    @cached_property
    def architecture(self) -> tuple[torch.nn.Module, str] | None:
        """The base with the task's head on the meta device: shapes without memory; and where they come from.

        Raises:
            ModelError: As :attr:`about`, or if this architecture can't do the task.
        """
        if self.about is None:
            return None
        model, source = self.fresh(), self.about[1]
        classes = self.classes
        return model, f"{source}, with a head for {classes} classes" if classes else source

    def fresh(self) -> torch.nn.Module:
        """A new one of :attr:`architecture`, for methods that change it."""
        import copy

        import torch
        import transformers

        about, auto = copy.deepcopy(self.about[0]), TASKS[self.config.task_type].auto_class
        if self.classes:
            about.num_labels = self.classes
        if (attention := self.config.model.attn_implementation) and attention != "flash_attention_2":
            about._attn_implementation = attention  # FlashAttention wants its package even for shapes
        kind = getattr(transformers, auto)
        _refuse_task(about, self.config)
        with torch.device("meta"):
            return kind.from_config(about)

    @cached_property
    def classes(self) -> int | None:
        """How many classes the head tells apart: as many as the rows have where they are at local."""
        task = TASKS[self.config.task_type]
        if task.labels is None:
            return None
        try:
            if self.rows("train") is not None:
                return len(task.labels(self.config))
        except DataError:
            pass  # a problem of its own
        return CLASSES[task.name]

    @cached_property
    def tokenizer(self) -> Any:
        """The base's tokenizer; None where it is not on this machine."""
        from shared.finetune.models import load_tokenizer, resolve

        try:
            if self.about is None or not Path(resolve(self.config.model.name_or_path)).is_dir():
                return None
            return load_tokenizer(self.config.model, words=self.config.task_type == "TOKEN_CLS")
        except (PeftLabsError, OSError, ValueError):
            return None  # the base's own problems are reported by `about`

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are read, each once."""
        evaluates = self.trains and self.config.training.eval_strategy != "no"
        asked = (self.trains and "train", evaluates and "eval", self.scored)
        return tuple(dict.fromkeys(split for split in asked if split))

    def rows(self, split: str) -> Dataset | None:
        """The rows of a split; None where the data set is not on this machine, or the split is not read.

        Args:
            split: ``"train"``, ``"eval"`` or ``"test"``.

        Raises:
            DataError: If they should be on this machine and are not, or can't be read.
        """
        name = self.config.dataset.name
        if split not in self.splits or not name or not fetched_already(name) or not is_local(name):
            return None
        if split not in self._rows:
            self._rows[split] = load_rows(self.config.dataset, split)
        return self._rows[split]


def fetched_already(name: str) -> bool:
    """False for what `peft-labs fetch-models` knows and has not fetched yet; True for all other names."""
    from shared.fetch import SOURCES, fetched

    short = name.removeprefix("fetched:")
    if short == name or short not in SOURCES:
        return True
    try:
        fetched(short)
    except DataError:
        return False
    return True


def is_local(name: str) -> bool:
    """Whether a data set's name means something on this machine, not on the Hub."""
    path = Path(name).expanduser()
    prefixed = name.startswith(("tiny:", "fetched:", "./", "../", "/", "~"))
    return prefixed or path.suffix in SUFFIXES or path.is_dir()


def _reference(name: str) -> tuple[PretrainedConfig, str] | None:
    """The configuration of a well-known architecture that the package describes itself."""
    from shared.parameters import ARCHITECTURES, reference_model

    if name.lower() in ("meta-llama/llama-2-7b-hf", "meta-llama/llama-2-7b-chat-hf", "huggyllama/llama-7b"):
        return reference_model("Llama-2-7b").config, "Llama-2-7B's published shapes"
    short = name.rsplit("/", 1)[-1]
    return (reference_model(short).config, f"{short}'s published shapes") if short in ARCHITECTURES else None


def _refuse_task(about: PretrainedConfig, config: Config) -> None:
    """An architecture that has no head for the task, or is bidirectional and can't generate text."""
    able = tasks_of(about)
    if config.task_type not in able:
        raise ModelError(
            f"{config.model.name_or_path} is a {about.model_type}, which can't do {config.task_type}",
            fix=f"choose from: {', '.join(able)}; or another model" if able else "choose another model",
        )
