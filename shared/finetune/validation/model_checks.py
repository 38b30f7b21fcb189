"""Problems that only the architecture shows: layers that it does not have, methods and tasks that it can't do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.errors import ConfigError, ModelError, PeftLabsError
from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.methods import METHODS
from shared.finetune.methods.support.target_modules import wrong_targets
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.yaml_source import Source
from shared.finetune.validation.estimate import longest_input, tuned_on_meta
from shared.finetune.validation.local_inputs import LocalInputs

NAME, TASK, METHOD = "model.name_or_path", "task_type", "peft.method"


def base_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """A model that should be on this machine and is not, or that has no head for the task."""
    path: tuple = ("model", "name_or_path")
    try:
        if local.about is not None:
            path = ("task_type",)
            assert local.architecture
    except PeftLabsError as error:
        yield source.problem(path, error.message, error.fix)
    except ValueError as error:  # transformers' word for a kernel that an architecture does not have
        where = ("model", "attn_implementation") if local.config.model.attn_implementation else path
        yield source.problem(where, str(error).partition(". ")[0], "write eager, or remove the key")


def target_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Target modules that the architecture does not have, or that can't take an adapter."""
    targets, where = getattr(local.config.peft, "target_modules", None), ("peft", "target_modules")
    if (model := _architecture(local)) is None:
        return
    name = local.config.model.name_or_path
    for place, why, fix in wrong_targets(model, targets):
        why = why.replace("it has", f"{name} has").replace("of it", f"of {name}")
        path, value = (where, targets) if place is None else ((*where, place), targets[place])
        yield source.problem(path, why, fix, value=value)


def lora_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Layers that LoRA's finer settings name and the architecture does not have."""
    section = local.config.peft
    if _architecture(local) is None or section.method != "lora":
        return
    names, model = [name for name, _ in _architecture(local).named_modules() if name], local.config.model.name_or_path
    ends = sorted({name.rsplit(".", 1)[-1] for name in names if not name.rsplit(".", 1)[-1].isdigit()})
    for number, name in enumerate(section.modules_to_save or ()):
        if not any(_ends(one, name) for one in names):
            path = ("peft", "modules_to_save", number)
            yield source.problem(
                path, f"{model} has no such module", _near(name, ends, "its modules are: "), value=name
            )
    for key in ("rank_pattern", "alpha_pattern"):
        for name in getattr(section, key):
            if not any(_matches(name, one) for one in names):
                yield source.problem(("peft", key, name), f"{model} has no such layer", _near(name, ends, "it has: "))
    layers = getattr(local.about[0], "num_hidden_layers", None)
    for number, layer in enumerate(section.layers_to_transform or ()):
        if layers is not None and not 0 <= layer < layers:
            path, fix = ("peft", "layers_to_transform", number), f"write numbers from 0 to {layers - 1}"
            yield source.problem(path, f"{model} has {layers} layers", fix, value=layer)
    yield from _token_problems(local, source, names)


def _token_problems(local: LocalInputs, source: Source, names: list[str]) -> Iterator[Problem]:
    """Trained tokens of layers or with numbers that the model does not have."""
    chosen, path = local.config.peft.trainable_token_indices, ("peft", "trainable_token_indices")
    model = _architecture(local)
    rows, name = model.get_input_embeddings().weight.shape[0], local.config.model.name_or_path
    places = {(): chosen} if isinstance(chosen, list) else {(key,): value for key, value in (chosen or {}).items()}
    for place, tokens in places.items():
        if place and not any(_ends(one, place[0]) for one in names):
            layers = [key for key, one in model.named_modules() if one is model.get_input_embeddings()]
            fix = f"the input embedding is {layers[0].rsplit('.', 1)[-1]}"
            yield source.problem((*path, *place), f"{name} has no such layer", fix)
        for number, token in enumerate(tokens):
            if not 0 <= token < rows:
                fix = f"write numbers from 0 to {rows - 1}"
                yield source.problem((*path, *place, number), f"{name} has {rows} tokens", fix, value=token)


def method_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """A method that this architecture or task does not allow, in this framework's words or else in peft's."""
    if _architecture(local) is None:
        return
    section = local.config.peft
    try:
        METHODS[section.method].check(local.architecture[0], section, local.config.task_type)
        tuned_on_meta(local.fresh(), local.config)
    except ModelError as error:
        yield source.problem(("peft", "method"), error.message, error.fix, section.method)
    except (ValueError, TypeError, NotImplementedError) as error:  # what peft raises for what it can't wrap
        why, fix = f"can't be put on {local.config.model.name_or_path}: {error}", "change peft: accordingly"
        yield source.problem(("peft",), why, fix, value=None)


def length_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """Inputs that are longer than the model has positions for, virtual tokens included."""
    if _architecture(local) is None:
        return
    config, model = local.config, local.architecture[0]
    causal = config.task_type == "CAUSAL_LM"
    path = ("sft" if causal else "dataset", "max_length")
    tokens = getattr(config.peft, "num_virtual_tokens", 0)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and tokens >= positions and model.config.model_type != "t5":
        fix = "the papers take 5 to 100"
        yield source.problem(("peft", "num_virtual_tokens"), f"the model has {positions} positions in all", fix)
    elif causal:
        asked = config.sft.max_length if "max_length" in config.sft.model_fields_set else None
        if asked and positions and asked + tokens > positions:
            why = f"the model has {positions} positions" + (f", and the prompt takes {tokens}" if tokens else "")
            key = ("sft", "max_seq_length") if source.get(path) is None else path
            yield source.problem(key, why, f"write {key[-1]}: {positions - tokens}")
    else:
        try:
            longest_input(config, model)
        except ConfigError as error:
            yield source.problem(path, error.message.partition(": ")[2], error.fix)


def end_token_problems(local: LocalInputs, source: Source) -> Iterator[Problem]:
    """A tokenizer whose own tokens have no row in the model's embedding: training would fail at the first one."""
    tokenizer, model = local.tokenizer, _architecture(local)
    if tokenizer is None or model is None:
        return
    rows = model.get_input_embeddings().weight.shape[0]
    for name in ("eos_token", "pad_token", "bos_token"):
        number = getattr(tokenizer, f"{name}_id")
        if number is not None and number >= rows:
            token = f"{name} {getattr(tokenizer, name)!r}"
            why = f"its tokenizer's {token} has the number {number}, but its embedding has {rows} rows"
            fix = "save the model anew after model.resize_token_embeddings(len(tokenizer))"
            yield source.problem(("model", "name_or_path"), why, fix)
            return


def _architecture(local: LocalInputs):
    try:
        return local.architecture[0] if local.architecture else None
    except (PeftLabsError, ValueError):
        return None  # reported by base_problems


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _matches(pattern: str, name: str) -> bool:
    """As peft matches the keys of rank_pattern: an ending, or a regular expression of one."""
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error:
        return False


def _near(word: str, known: list[str], before: str) -> str:
    fix = did_you_mean(word, known)
    return fix if fix.startswith("did") else before + ", ".join(known)


CHECKS = (
    ((NAME, TASK), base_problems),
    ((NAME, TASK), end_token_problems),
    ((NAME, TASK, METHOD, "peft.target_modules"), target_problems),
    (
        (
            NAME,
            TASK,
            METHOD,
            "peft.modules_to_save",
            "peft.rank_pattern",
            "peft.alpha_pattern",
            "peft.trainable_token_indices",
        ),
        lora_problems,
    ),
    ((NAME, TASK, "peft"), method_problems),
    ((NAME, TASK, METHOD, "peft.num_virtual_tokens", "sft.max_length", "dataset.max_length"), length_problems),
)
