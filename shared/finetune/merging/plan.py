"""What an adapter changes in its base: which modules, by which tensors of its file.

The model is built without weights (on the meta device), so that peft's and transformers' own classes say which module
a tensor belongs to, at any size of the model.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.merging.checkpoint import Checkpoint
from shared.finetune.merging.whole_model import SHIP
from shared.finetune.models.adapter_files import WEIGHTS, embedding_keys, vocabulary

if TYPE_CHECKING:
    from shared.finetune.config import Config

PREFIX = "base_model.model."
OTHER_BASE = "merge into the base that the adapter was trained on (model.name_or_path)"


class WholeModelOnly(Exception):
    """The adapter can be merged, but only with the whole model in memory; the text says why."""


@dataclass(frozen=True)
class Unit:
    """Modules that are merged together: one, or the input and output embeddings where they share their weights.

    Attributes:
        modules: Their paths in the model.
        keys: The tensors of the adapter's file that belong to them.
        tied: Whether they share their weights in the base.
    """

    modules: tuple[str, ...]
    keys: tuple[str, ...]
    tied: bool = False


@dataclass
class Plan:
    """What is merged.

    Attributes:
        model: The base without weights.
        settings: peft's configuration of the adapter.
        base: The base's tensors.
        adapter: The adapter's tensors.
        stored: Name in the model -> name in the base's files; some checkpoints leave the model's prefix out (h.0…).
        units: The modules that peft's layers merge.
        replaced: Name in the base's files -> the adapter's tensor that takes its place.
        shared: The adapter's tensors that all modules use (VeRA's projections).
        embeddings: The paths of the input and the output embeddings.
        names: The model's tensors.
    """

    model: Any
    settings: Any
    base: Checkpoint
    adapter: Checkpoint
    stored: dict[str, str]
    units: list[Unit] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    embeddings: tuple[str | None, str | None] = (None, None)
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        paths = {id(module): path for path, module in self.model.named_modules()}
        ends = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        self.embeddings = paths.get(id(ends[0])), paths.get(id(ends[1]))
        self.names = frozenset(self.model.state_dict())

    def added_tokens(self, path: str) -> bool:
        """Whether the vocabulary has grown, and the adapter's file brings this module's larger weights."""
        size = self.model.get_input_embeddings().weight.shape
        found = [self.adapter.kinds[key][1] for key in embedding_keys(self.model) if key in self.adapter.kinds]
        return path in self.embeddings and tuple(size) in found

    def stored_name(self, name: str) -> str:
        """A model tensor's name in the base's files; for one that is not stored, the name it would have."""
        if name in self.stored:
            return self.stored[name]
        example = next(iter(self.stored))
        cut = example.removesuffix(self.stored[example])  # what this checkpoint leaves out, for example "transformer."
        return name.removeprefix(cut)


def make_plan(config: Config, base: Path, place: Path) -> Plan:
    """Assign each tensor of an adapter's file to what it changes.

    Args:
        config: The configuration; its ``model`` section says how the base is loaded.
        base: The base's folder.
        place: The adapter's folder.

    Raises:
        ModelError: If the file holds a tensor that the base has no place for.
        WholeModelOnly: If the base's files hold other tensors than the model has.
    """
    from peft import PeftConfig

    model = skeleton(base, config.model.trust_remote_code)
    checkpoint, adapter = Checkpoint(base), Checkpoint(place / WEIGHTS)
    tokens = vocabulary(place, model)
    if tokens != model.get_input_embeddings().weight.shape[0]:
        model = skeleton(base, config.model.trust_remote_code, tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = PeftConfig.from_pretrained(str(place))
    if getattr(settings, "layer_replication", None):
        raise ModelError(
            "an adapter with layer_replication can't be merged: the copied layers share their weights", fix=SHIP
        )
    plan = Plan(model, settings, checkpoint, adapter, _stored_names(model, checkpoint))
    modules, plain = _sort(plan, base)
    _make_units(plan, modules, plain)
    return plan


def skeleton(base: Path, trust_remote_code: bool = False, tokens: int | None = None) -> Any:
    """A language model without weights; its buffers, which are computed, are there.

    Args:
        base: The model's folder.
        trust_remote_code: Whether code in it may be run.
        tokens: Size of the vocabulary; None: that of its ``config.json``.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
    if tokens is not None:
        settings.get_text_config().vocab_size = tokens
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(settings, trust_remote_code=trust_remote_code)
    model.tie_weights()
    return model.eval()


def is_tied(model: Any) -> bool:
    """Whether input and output embeddings are one tensor."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    return last is not None and getattr(last, "weight", None) is getattr(first, "weight", ...)


def _stored_names(model: Any, checkpoint: Checkpoint) -> dict[str, str]:
    known = model.state_dict().keys()
    renames = getattr(model, "_checkpoint_conversion_mapping", None) or {}
    found = {}
    for stored in checkpoint.where:
        name = stored
        for pattern, replacement in renames.items():
            name = re.sub(pattern, replacement.lstrip("^"), name)
        prefix = model.base_model_prefix + "."
        for candidate in (name, prefix + name, name.removeprefix(prefix)):
            if candidate in known:
                found[candidate] = stored
                break
    if not found:
        raise WholeModelOnly("the base's files hold none of the model's tensors by name")
    return found


def _sort(plan: Plan, base: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The adapter's tensors by module: those of peft's layers, and those that replace a tensor of the base.

    Returns:
        Module path -> keys; name in the model -> key.
    """
    import torch

    modules, plain = defaultdict(list), {}
    for key in plan.adapter.where:
        if not key.startswith(PREFIX):
            plan.shared.append(key)
            continue
        path, module, rest = _deepest(plan.model, key.removeprefix(PREFIX))
        if isinstance(module, (torch.nn.ModuleList, torch.nn.ModuleDict)) or not path:
            raise ModelError(
                f"the base {base.name} has no tensor {key.removeprefix(PREFIX)}, which the adapter changes",
                fix=OTHER_BASE,
            )
        if rest in module._parameters or rest in module._buffers:
            plain[f"{path}.{rest}"] = key
        else:
            modules[path].append(key)
    return modules, plain


def _deepest(model: Any, name: str) -> tuple[str, Any, str]:
    """The deepest module on a name's way, its path, and the rest of the name."""
    steps, module = name.split("."), model
    for number, step in enumerate(steps):
        if step not in module._modules:
            return ".".join(steps[:number]), module, ".".join(steps[number:])
        module = module._modules[step]
    return name, module, ""


def _make_units(plan: Plan, modules: dict[str, list[str]], plain: dict[str, str]) -> None:
    pair = [path for path in plan.embeddings if path]
    touched = [path for path in pair if path in modules or any(name.rpartition(".")[0] == path for name in plain)]
    if is_tied(plan.model) and touched:
        keys = [key for path in pair for key in modules.pop(path, [])]
        keys += [plain.pop(name) for name in list(plain) if name.rpartition(".")[0] in pair]
        plan.units.append(Unit(tuple(pair), tuple(keys), tied=True))
    for path, keys in modules.items():
        own = [name for name in plain if name.rpartition(".")[0] == path]
        plan.units.append(Unit((path,), (*keys, *(plain.pop(name) for name in own))))
    for name, key in plain.items():
        if name not in plan.stored:
            raise WholeModelOnly(f"the base's files hold no tensor {name}")
        _refuse_other_shape(plan, name, key)
        plan.replaced[plan.stored[name]] = key
    changed = {path for unit in plan.units for path in unit.modules} | {name.rpartition(".")[0] for name in plain}
    for path in pair:
        if path not in changed:
            _refuse_other_shape(plan, f"{path}.weight", None)


def _refuse_other_shape(plan: Plan, name: str, key: str | None) -> None:
    """Refuse a tensor that does not fit the model; without a key, one of the base that the adapter leaves as it is."""
    if name not in plan.stored:
        return
    wanted = tuple(plan.model.state_dict()[name].shape)
    found = plan.adapter.kinds[key][1] if key else plan.base.kinds[plan.stored[name]][1]
    if wanted != found and key:
        raise ModelError(f"{key} has shape {found}, this base needs {wanted}", fix=other_shape(wanted, found))
    if wanted != found:
        text = f"the adapter has {wanted[0]} tokens, {name} of the base has {found[0]}, and the file has no other"
        raise ModelError(text, fix=other_shape(found, wanted))


def other_shape(there: tuple[int, ...], new: tuple[int, ...]) -> str:
    """What to do about a tensor of another shape: added tokens, or another base."""
    if len(there) == len(new) and there[1:] == new[1:]:
        return (
            f"if tokens were added before training, add them to the base too: model.resize_token_embeddings({new[0]}), "
            "model.save_pretrained(folder), and name that folder in model.name_or_path"
        )
    return OTHER_BASE
