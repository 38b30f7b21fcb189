"""Base models and their tokenizers: where they come from, in which number format, quantised or not."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ModelError
from shared.finetune.heads import NAMES as HEADS
from shared.finetune.heads import in_head, lacking
from shared.finetune.schema import ModelSection, Quantization
from shared.finetune.tasks import TASKS, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from shared.finetune.config import Config


def resolve(name: str) -> str:
    """The folder of a ``tiny:`` or ``fetched:`` model or of a local one; a Hub id stays as it is.

    Args:
        name: ``model.name_or_path``.

    Raises:
        ModelError: If a local or embedded model is not there.
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
                cure="name the folder that holds config.json and the .safetensors files",
            )
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or name.startswith("outputs/"):
        raise ModelError(f"there is no model folder {name}", cure="check model.name_or_path")
    return name


def load_base(
    config: Config, quantized: bool | None = None, dtype: str | None = None, labels: Sequence[str] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model of a configuration, with the head of its task, and its tokenizer.

    A head that the checkpoint does not bring starts at random: set the seed before.

    Args:
        config: The configuration.
        quantized: None follows ``model.quantization``; True quantises (to NF4 with double quantisation where the
            section is absent); False loads the plain weights.
        dtype: Number format instead of ``model.dtype``.
        labels: Names of the classes (SEQ_CLS, TOKEN_CLS); None takes those of the training rows.

    Returns:
        The model, on the accelerator where there is one, and the tokenizer with a padding token.

    Raises:
        ModelError: If it is missing, gated or out of reach; with the cure.
    """
    section, task = config.model, TASKS[config.task_type]
    path = resolve(section.name_or_path)
    quantization = _quantization(section, quantized)
    device = _device(config)
    if labels is None and task.labels is not None:
        labels = task.labels(config)
    with hub_errors(section):
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
    if task.has_head:  # a classifier does not generate; the Trainer would take these over itself, with a notice
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(model.config, name, getattr(tokenizer, name))
    return model, tokenizer


def load_tokenizer(section: ModelSection, path: str | None = None, words: bool = False) -> PreTrainedTokenizerBase:
    """The base's tokenizer.

    A tokenizer without padding token (Llama-2 has none) pads with its end-of-text token: padded places are masked out
    of attention and loss, so the choice has no effect on the numbers.

    Args:
        section: ``config.model``.
        path: Where it lies; None finds it.
        words: Whether it is to read single words: byte-level ones (GPT-2, RoBERTa) then put a blank before each.
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


def load_tuned(
    config: Config, folder: str | Path | None, quantized: bool | None = None, dtype: str | None = None
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The tuned model: a base with an adapter, a whole model folder, or (folder None) the untuned base.

    Args:
        config: The configuration that the adapter was trained with.
        folder: An adapter folder, a model folder, or a run's folder that holds one of them as ``adapter``/``model``.
        quantized: As in :func:`load_base`.
        dtype: As in :func:`load_base`.

    Returns:
        The model in eval mode, with its head as it was trained, and the tokenizer.

    Raises:
        ModelError: If the folder holds neither, its file is damaged, or it was trained for another task.
    """
    if folder is None:
        return load_base(config, quantized, dtype)
    from shared.finetune.storage import restore

    return restore(config, find_weights(Path(folder)), quantized, dtype)


def find_weights(folder: Path) -> Path:
    """The folder that really holds an adapter or a model: itself, or its ``adapter`` or ``model`` part.

    Raises:
        ModelError: If there is none.
    """
    for place in (folder, folder / "adapter", folder / "model"):
        if any((place / name).is_file() for name in ("adapter_config.json", "delta.safetensors", "config.json")):
            return place
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}", cure="train first: peft-labs train --config …")
    raise ModelError(
        f"{folder} holds neither adapter_config.json nor config.json",
        cure="name the folder that `peft-labs train` wrote, or its adapter/ part",
    )


def bits_and_bytes(section: Quantization, kept: Sequence[str] | None = None) -> Any:
    """transformers' BitsAndBytesConfig of a ``model.quantization`` section.

    Args:
        section: The section.
        kept: Modules that stay as they are; None: transformers' own choice, the output layer.
    """
    import torch
    from transformers import BitsAndBytesConfig

    values = section.model_dump()
    values["bnb_4bit_compute_dtype"] = getattr(torch, values["bnb_4bit_compute_dtype"])
    return BitsAndBytesConfig(**values, llm_int8_skip_modules=list(kept) if kept else None)


def exact_4bit_on_cpu(model: Any) -> Any:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-bf16.

    In eval mode ``Linear4bit`` there rounds its scale factors to bfloat16 and drops the double quantisation, for good:
    a training that evaluates in between would go on with other base weights than it began with, layers whose width is
    no multiple of 64 fail, and results would differ from machine to machine.

    Args:
        model: A quantised model; changed in place and returned. Others are left as they are.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def _quantization(section: ModelSection, quantized: bool | None) -> Quantization | None:
    asked = section.quantization
    if quantized is None:
        return asked if asked is not None and (asked.load_in_4bit or asked.load_in_8bit) else None
    if not quantized:
        return None
    if asked is not None and (asked.load_in_4bit or asked.load_in_8bit):
        return asked
    dtype = "float32" if section.dtype == "float32" else "bfloat16"
    return Quantization(load_in_4bit=True, bnb_4bit_compute_dtype=dtype)


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
        _need_bitsandbytes()
        # a head is trained in full: it must not be stored in integer codes
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
    with _no_warnings():  # that the head is new is no news
        model, report = kind.from_pretrained(path, output_loading_info=True, **arguments)
    _refuse_holes(report["missing_keys"], section)
    model.fresh_modules = lacking(report["missing_keys"])
    return model


def _refuse_holes(missing: Sequence[str], section: ModelSection) -> None:
    """A checkpoint may lack the head and the pooler before it, and nothing else."""
    holes = [name for name in missing if not in_head(name, (*HEADS, "pooler"))]
    if holes:
        raise ModelError(
            f"{section.name_or_path} lacks {len(holes)} weights of this architecture, {holes[0]} among them",
            cure="check model.name_or_path: the weights belong to another model, or the file is cut off",
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
    """Where the model goes: ``training.use_cpu`` wins, else :func:`shared.machine.choose_device`."""
    from shared.machine import choose_device

    if config.training.use_cpu:
        return "cpu"
    device = choose_device().value
    # each process of a distributed run has its own card
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}" if device == "cuda" else device


def _need_bitsandbytes() -> None:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "model.quantization needs bitsandbytes, which is not installed",
            cure="pip install -r requirements.lock (it has no build for some systems: then remove model.quantization)",
        )


class hub_errors:
    """Turns the many errors of a model's loading into ModelErrors with a cure."""

    def __init__(self, section: ModelSection):
        self.name = section.name_or_path
        self.login = section.use_auth_token

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (ModelError, KeyboardInterrupt)):
            return
        chain = [error]
        while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
            chain.append(inner)
        names = {type(one).__name__ for one in chain}
        text = " ".join(str(one) for one in chain)
        if "GatedRepoError" in names or "gated repo" in text:
            login = "" if self.login else ", and set model.use_auth_token: true"
            raise ModelError(
                f"{self.name} is gated: its owner has to let you in",
                cure=f"ask on https://huggingface.co/{self.name}, run `hf auth login`{login}; or name an "
                "ungated model in model.name_or_path",
            ) from error
        if "RepositoryNotFoundError" in names or "is not a valid model identifier" in text:
            raise ModelError(
                f"there is no model {self.name} on the Hub (or it is private)",
                cure="check model.name_or_path; for a private one run `hf auth login`",
            ) from error
        if (
            names
            & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "ConnectTimeout", "ReadTimeout"}
            or "couldn't connect" in text
            or "offline mode" in text.lower()
        ):
            raise ModelError(
                f"{self.name} is not on this machine and the Hub is out of reach",
                cure="go online once, or use tiny:llama or fetched:smollm2-135m-instruct (peft-labs fetch-models)",
            ) from error
        if "SafetensorError" in names or "no file named model.safetensors" in text:
            raise ModelError(
                f"the weights of {self.name} are damaged or not safetensors: {error}",
                cure="fetch or save the model again",
            ) from error
