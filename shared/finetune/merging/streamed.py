"""Write the merged model file by file: unchanged tensors in pieces, each changed module once it is merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.files import write_json
from shared.finetune.merging.checkpoint import Checkpoint
from shared.finetune.merging.parts import adapted
from shared.finetune.merging.peft_layers import Merged, dry_run, merge_unit
from shared.finetune.merging.plan import Plan, Unit, is_tied, skeleton
from shared.finetune.merging.shards import write_shard
from shared.finetune.merging.whole_model import SHIP

if TYPE_CHECKING:
    import torch

SMALL = 2**16  # tensors up to this size are kept until they are written; a larger one is made again


@dataclass
class Streamed:
    """The merge of one plan.

    Attributes:
        plan: The plan.
        dtype: dtype of the merged weights; None: as the base stores them.
        check: Whether each module's outputs are compared.
        checks: Module -> its comparison, see :class:`shared.finetune.merging.peft_layers.Merged`.
        untied: Whether input and output embeddings, one tensor in the base, are two in the merged model.
    """

    plan: Plan
    dtype: torch.dtype | None
    check: bool
    checks: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    untied: bool = False
    _units: dict[str, Unit] = field(default_factory=dict)  # stored name -> the unit that makes it
    _names: dict[str, str] = field(default_factory=dict)  # stored name -> name in the model
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _new: dict[Path, list[str]] = field(default_factory=lambda: defaultdict(list))  # not stored by the base
    _made: dict[str, torch.Tensor] = field(default_factory=dict)

    def prepare(self) -> None:
        """Try every module without values, so that what can't be merged is refused before anything is written.

        Raises:
            ModelError: If a tensor of the adapter is not used, or a module can't be merged.
            WholeModelOnly: If the merge has to be done with the whole model in memory.
        """
        for unit in self.plan.units:
            shapes = dry_run(self.plan, unit)
            if unit.tied:
                self._look_at_tied(unit, shapes)
            for name, shape in shapes.items():
                stored = self.plan.stored_name(name)
                self._units[stored], self._names[stored], self._shapes[stored] = unit, name, shape
                if stored not in self.plan.base.where:
                    self._new[self._file_of(unit)].append(stored)

    @property
    def layers(self) -> int:
        """The number of modules that have one of peft's layers."""
        return len({path for unit in self.plan.units for path in unit.modules if adapted(self.plan, unit, path)})

    def _look_at_tied(self, unit: Unit, shapes: dict[str, tuple[int, ...]]) -> None:
        """Merge the embeddings once to see whether they are still equal; if they are, one of them is written."""
        import torch

        first, last = (f"{path}.weight" for path in unit.modules)
        merged = merge_unit(self.plan, unit, self._target, self.check)
        self.untied = not torch.equal(merged.tensors[first], merged.tensors[last])
        if not self.untied:
            absent = last if self.plan.stored_name(last) not in self.plan.base.where else None
            shapes.pop(absent, None)

    def _file_of(self, unit: Unit) -> Path:
        base = self.plan.base
        names = [self.plan.stored_name(f"{path}.weight") for path in unit.modules]
        return next((base.where[name] for name in names if name in base.where), base.files[-1])

    def _target(self, name: str) -> torch.dtype:
        stored = self.plan.stored_name(name)
        kind = self.plan.base.kinds.get(stored)
        if kind is None:  # a head that was tied takes the embedding's dtype
            kind = self.plan.base.kinds[self.plan.stored_name(f"{self.plan.embeddings[0]}.weight")]
        return self._dtype(kind[0])

    def _dtype(self, stored: torch.dtype) -> torch.dtype:
        return stored if self.dtype is None or not stored.is_floating_point else self.dtype

    def write(self, out: Path) -> int:
        """Write all weight files.

        Args:
            out: The merged model's folder.

        Returns:
            Their number.
        """
        base, weight_map, size = self.plan.base, {}, 0
        rename = self._renames()
        for file in base.files:
            kinds = {name: self._kind(name) for name, place in base.where.items() if place == file}
            kinds |= {name: (self._target(self._names[name]), self._shapes[name]) for name in self._new[file]}
            stored = {rename.get(name, name): name for name in kinds}
            weight_map |= dict.fromkeys(stored, file.name)
            written = {name: kinds[one] for name, one in stored.items()}
            size += write_shard(out / file.name, written, lambda name: self._make(stored[name]))  # noqa: B023
        if len(base.files) > 1:
            index = {"metadata": {"total_size": size}, "weight_map": weight_map}
            write_json(out / "model.safetensors.index.json", index)
        return len(base.files)

    def _renames(self) -> dict[str, str]:
        """Stored name -> name in the model, where the merged model has a head and the base's files name none.

        Files of a bare backbone leave the model's prefix out (``h.0…`` for ``transformer.h.0…``); with a head beside
        them transformers would read ``transformer.lm_head``.
        """
        return {stored: name for name, stored in self.plan.stored.items()} if self.untied else {}

    def _kind(self, name: str) -> tuple[torch.dtype, tuple[int, ...]]:
        dtype, shape = self.plan.base.kinds[name]
        if name in self.plan.replaced:
            shape = self.plan.adapter.kinds[self.plan.replaced[name]][1]
        return self._dtype(dtype), self._shapes.get(name, shape)

    def _make(self, name: str) -> Iterable[torch.Tensor]:
        if name in self.plan.replaced:
            return self.plan.adapter.pieces(self.plan.replaced[name], self._kind(name)[0])
        if name not in self._units:
            return self.plan.base.pieces(name, self._kind(name)[0])
        if name not in self._made:
            self._take(self._units[name], merge_unit(self.plan, self._units[name], self._target, self.check))
        return [self._made.pop(name)]

    def _take(self, unit: Unit, merged: Merged) -> None:
        """Keep what was made until it is written; large tensors of the module before are made again if needed."""
        self.checks |= merged.checks
        self._made = {name: one for name, one in self._made.items() if one.numel() <= SMALL}
        self._made |= {self.plan.stored_name(name): one for name, one in merged.tensors.items()}

    def config_changes(self) -> dict[str, Any]:
        """What has to be different in the merged model's ``config.json``."""
        settings = self.plan.model.config  # of the model without weights, whose vocabulary has the adapter's size
        changes: dict[str, Any] = {"tie_word_embeddings": False} if self.untied else {}
        if settings.get_text_config() is not settings:
            nested = settings.to_dict()["text_config"]
            return changes | {"text_config": nested | changes}
        return changes | {"vocab_size": settings.vocab_size}

    def verify_untied(self, out: Path) -> None:
        """Make sure that transformers loads untied embeddings as two, and finds all its tensors.

        Raises:
            ModelError: If this architecture ties them whatever its configuration says.
        """
        if not self.untied:
            return
        model = skeleton(out)
        absent = model.state_dict().keys() - Checkpoint(out).where.keys()
        if is_tied(model) or absent:
            raise ModelError(
                f"the adapter changes one of the two embeddings that a {type(model).__name__} shares between input and "
                "output, and this architecture can't hold two"
                + (f": {sorted(absent)[0]} is missing" if absent else ""),
                fix=f"{SHIP}, or train with peft's ensure_weight_tying=True",
            )
