"""Base models and their tokenizers: source, dtype, quantisation."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.methods.support.heads import NAMES as HEADS
from shared.finetune.methods.support.heads import in_head, lacking
from shared.finetune.models.hub_errors import hub_errors
from shared.finetune.models.quantization import bits_and_bytes, exact_4bit_on_cpu, need_bitsandbytes, quantization_of
from shared.finetune.schema.sections import ModelSection, Quantization
from shared.finetune.tasks import TASKS, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from shared.finetune.config.loading import Config


def resolve(name: str) -> str:
    """The folder of a ``tiny:`` or ``fetched:`` model or of a local one; a Hub id is returned unchanged.

    Args:
        name: ``model.name_or_path``.

    Raises:
        ModelError: If a local or embedded model does not exist.
    """
    if name.startswith("tiny:"):
        from shared.tiny import model_path

        return str(model_path(name.removeprefix("tiny:")))
    if name.startswith("fetched:"):
        from shared.fetch import fetched

        return str(fetched(name.removeprefix("fetched:")))
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"the folder {name} holds no config.json, so it is not a model",
                fix="name the folder that holds config.json and the .safetensors files",
            )
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.startswith("outputs/"):
        raise ModelError(f"there is no model folder {name}", fix="check model.name_or_path")
    return name


def load_base(
    config: Config, quantized: bool | None = None, dtype: str | None = None, labels: Sequence[str] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model of a configuration, with the head of its task, and its tokenizer.

    A head that is not in the checkpoint is initialized randomly: set the seed before.

    Args:
        config: The configuration.
        quantized: None follows ``model.quantization``; True quantises (to NF4 with double quantisation if the
            section is absent); False loads the plain weights.
        dtype: Replaces ``model.dtype``.
        labels: Names of the classes (SEQ_CLS, TOKEN_CLS); None takes those of the training rows.

    Returns:
        The model, on the accelerator if there is one, and the tokenizer with a padding token.

    Raises:
        ModelError: If it is missing, gated or can't be reached; with the fix.
    """
    section, task = config.model, TASKS[config.task_type]
    path = resolve(section.name_or_path)
    quantization = quantization_of(section, quantized)
    device = _device(config)
    if labels is None and task.labels is not None:
        labels = task.labels(config)
    with hub_errors(section, config):
        model = _from_pretrained(path, section, quantization, dtype or section.dtype, device, task, labels)
    if quantization is None:
        model.to(device)
    else:
        exact_4bit_on_cpu(model)
    tokenizer = load_tokenizer(section, path, words=config.task_type == "TOKEN_CLS")
    accepted = inspect.signature(model.forward).parameters  # a Llama refuses the token_type_ids of some tokenizers
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in accepted]
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if task.has_head:  # a classifier does not generate; the Trainer would set these itself, with a notice
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(model.config, name, getattr(tokenizer, name))
    return model, tokenizer


def load_tokenizer(section: ModelSection, path: str | None = None, words: bool = False) -> PreTrainedTokenizerBase:
    """The base's tokenizer.

    A tokenizer without padding token (such as Llama-2's) pads with its end-of-text token: padding is masked in
    attention and loss, so the choice does not change the results.

    Args:
        section: ``config.model``.
        path: Its folder; None finds it.
        words: Whether it gets single words: byte-level tokenizers (GPT-2, RoBERTa) then put a space before each.
    """
    from transformers import AutoTokenizer

    path = path or resolve(section.name_or_path)
    with hub_errors(section):
        tokenizer = AutoTokenizer.from_pretrained(path, **_hub_arguments(section))
        if words and getattr(tokenizer, "add_prefix_space", None) is False:
            tokenizer = AutoTokenizer.from_pretrained(path, add_prefix_space=True, **_hub_arguments(section))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _from_pretrained(
    path: str,
    section: ModelSection,
    quantization: Quantization | None,
    dtype: str,
    device: str,
    task: Task,
    labels: Sequence[str] | None,
) -> Any:
    import torch
    import transformers

    extra: dict[str, Any] = {}
    if section.attn_implementation:
        extra["attn_implementation"] = section.attn_implementation
    if quantization is not None:
        need_bitsandbytes()
        # a head is fully trained: it must not be quantised
        kept = [*HEADS, "pooler"] if task.has_head else None
        extra["quantization_config"] = bits_and_bytes(quantization, kept)
        extra["device_map"] = {"": device}
    if labels is not None:
        extra["id2label"] = dict(enumerate(labels))
        extra["label2id"] = {name: number for number, name in enumerate(labels)}
    number = dtype if dtype == "auto" else getattr(torch, dtype)
    kind = getattr(transformers, task.auto_class)
    arguments = {"dtype": number, "use_safetensors": True, **extra, **_hub_arguments(section)}
    if not task.has_head:
        return kind.from_pretrained(path, **arguments)
    with _no_warnings():  # the warning that the head is new is expected
        model, report = kind.from_pretrained(path, output_loading_info=True, **arguments)
    _refuse_missing(report["missing_keys"], section)
    model.fresh_modules = lacking(report["missing_keys"])
    return model


def _refuse_missing(missing: Sequence[str], section: ModelSection) -> None:
    """Only the head and the pooler before it may be missing in a checkpoint."""
    absent = [name for name in missing if not in_head(name, (*HEADS, "pooler"))]
    if absent:
        raise ModelError(
            f"{section.name_or_path} lacks {len(absent)} weights of this architecture, for example {absent[0]}",
            fix="check model.name_or_path: the weights belong to another model, or the file is incomplete",
        )


@contextmanager
def _no_warnings() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _hub_arguments(section: ModelSection) -> dict[str, Any]:
    if section.trust_remote_code:
        print(
            f"warning: trust_remote_code is true: Python code that comes with {section.name_or_path} runs with your "
            "rights on this machine",
            file=sys.stderr,
        )
    found: dict[str, Any] = {"trust_remote_code": section.trust_remote_code}
    if section.revision:
        found["revision"] = section.revision
    if section.use_auth_token:
        found["token"] = True
    return found


def _device(config: Config) -> str:
    """The model's device: the CPU with ``training.use_cpu``, else :func:`shared.machine.choose_device`."""
    from shared.machine import choose_device

    if config.training.use_cpu:
        return "cpu"
    device = choose_device().value
    # each process of a distributed run has its own GPU
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}" if device == "cuda" else device
