"""The schema of a configuration: what may stand in the YAML, with each value's effect and unit."""

from __future__ import annotations

import dataclasses
import enum
import typing
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from shared.finetune.methods import METHODS

TASK_TYPES = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "CAUSAL_LM", "SEQ_2_SEQ_LM")
DTYPES = ("float32", "bfloat16", "float16", "auto")


class Section(BaseModel):
    """What all sections share: unknown keys are faults, and values keep the type they have in the YAML."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Quantization(Section):
    """``model.quantization``: names and meanings of transformers' BitsAndBytesConfig."""

    load_in_4bit: bool = Field(False, description="Store the frozen linear weights in 4 bits each.")
    load_in_8bit: bool = Field(False, description="Store the frozen linear weights in 8 bits each.")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4", description="The 16 values a weight may take: nf4 suits normally distributed weights."
    )
    bnb_4bit_use_double_quant: bool = Field(
        True, description="Quantise the scale factors too: 0.127 instead of 0.5 extra bits per weight."
    )
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="The matrix products' number format; the weights are dequantised to it."
    )


class ModelSection(Section):
    """``model:``: which base, and in which number format."""

    name_or_path: str = Field(
        description="tiny:<name> (embedded), fetched:<name> (peft-labs fetch-models), a model folder, or a Hub id."
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; null is the main branch.")
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32", description="Number format of the loaded weights [4, 2 or 2 bytes each; auto: as stored]."
    )
    trust_remote_code: bool = Field(False, description="true runs Python code that comes with the model.")
    use_auth_token: bool = Field(
        False,
        description="true uses your own Hub login (hf auth login) for gated models; "
        "a token itself never stands in a file.",
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="Attention kernel; null lets transformers choose."
    )
    quantization: Quantization | None = Field(None, description="4- or 8-bit storage of the frozen base (QLoRA).")


class DatasetSection(Section):
    """``dataset:``: which rows, and how a row becomes a prompt and a completion."""

    name: str = Field(
        description="tiny:<task>, fetched:<name>, a local .jsonl/.csv/.parquet file or a folder with "
        "one file per split, or a Hub id."
    )
    config: str | None = Field(
        None,
        description="The Hub data set's configuration (for example main for gsm8k); for tiny:<task> the difficulty "
        "(easy, normal, hard).",
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; null is the main branch.")
    train_split: str = Field("train", description="Split to train on.")
    eval_split: str = Field("validation", description="Split for the loss during training.")
    test_split: str = Field("test", description="Held-out split for the metrics at the end.")
    holdout: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="A single local file: the share of rows [0–0.5] that is "
        "held out for evaluation, and the same again for the test.",
    )
    max_train_rows: int | None = Field(None, ge=1, description="Train on this many rows, drawn with a fixed seed.")
    max_eval_rows: int | None = Field(None, ge=1, description="Evaluate the loss on this many rows.")
    max_words: dict[str, int] = Field(
        default_factory=dict,
        description="Cut a column after this many words before it goes into the template, for example {text: 80}.",
    )
    prompt_template: str | None = Field(
        None,
        description="The text of one example with {column} placeholders. All "
        "before the response is prompt, the response is what is learnt.",
    )
    response_field: str | None = Field(
        None, description="The column with the response; null: the template's last placeholder."
    )
    response_marker: str | None = Field(
        None,
        description="For data with one text column: the prompt ends with the "
        "last occurrence of this marker, the response follows.",
    )
    text_field: str = Field("text", description="The text column that response_marker splits.")
    messages_field: str | None = Field(
        None,
        description="CAUSAL_LM: the column with chats, lists of messages with role and content, which the tokenizer's "
        "chat template renders; null: messages, where there is neither prompt_template nor response_marker.",
    )
    train_on: Literal["last", "all"] = Field(
        "last", description="Chats: learn the assistant's last turn only, or each turn as an example of its own."
    )
    input_template: str | None = Field(
        None,
        description="How inference wraps a bare text into a prompt, with {text}; null: derived from prompt_template.",
    )
    text_columns: list[str] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="SEQ_CLS: the column with the text, or the two with a pair; TOKEN_CLS: the one with the words. "
        "null: known from public data sets (sentence1 and sentence2, premise and hypothesis, sentence, text, tokens).",
    )
    label_column: str | None = Field(
        None, description="SEQ_CLS, TOKEN_CLS: the column with the labels; null: label, or ner_tags."
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="Longest input [tokens], for all tasks but CAUSAL_LM (there: sft.max_length); the rest is cut off. "
        "null: 512, or what the model has positions for.",
    )
    max_target_length: int = Field(
        128, ge=2, description="SEQ_2_SEQ_LM: longest reference [tokens]; the rest is cut off."
    )
    doc_stride: int = Field(
        64, ge=1, description="QUESTION_ANS: overlap of the windows that a long context is read in [tokens]."
    )


class SftSection(Section):
    """``sft:`` (CAUSAL_LM only): names and meanings of TRL's SFTConfig."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    max_length: int | None = Field(
        1024,
        ge=2,
        validation_alias=AliasChoices("max_length", "max_seq_length"),
        description="Longest example [tokens]; the rest is cut off at the end. (max_seq_length is accepted too.)",
    )
    packing: bool = Field(False, description="Put several short examples into one sequence: less padding.")
    packing_strategy: Literal["bfd", "bfd_split", "wrapped"] = Field("bfd", description="How examples are packed.")
    eval_packing: bool | None = Field(None, description="Pack the evaluation rows too; null: as packing.")
    completion_only_loss: bool = Field(
        True, description="Only the response's tokens count in the loss; false trains on the prompt too."
    )
    loss_type: Literal["nll", "dft"] = Field("nll", description="Negative log-likelihood, or dynamic fine-tuning.")
    dataset_num_proc: int | None = Field(None, ge=1, description="Processes that tokenise.")
    shuffle_dataset: bool = Field(False, description="Shuffle the rows once before packing.")
    pad_to_multiple_of: int | None = Field(
        None, ge=1, description="Pad to a multiple of so many tokens (8 or 64 suits tensor cores)."
    )
    activation_offloading: bool = Field(False, description="Keep activations in CPU memory: slower, smaller.")


class EvaluationSection(Section):
    """``evaluation:``: how answers are generated and judged."""

    metric: Literal["exact_match", "final_number", "pass_at_1"] = Field(
        "exact_match",
        description="CAUSAL_LM: which answers are right. exact_match: the reference's text; final_number: its number "
        "(behind ####, else behind 'The answer is', else the last one); pass_at_1: the last ```python block passes the "
        "row's tests, run on this machine.",
    )
    tests_field: str = Field("tests", description="pass_at_1: the column with the tests, Python that fails by assert.")
    max_new_tokens: int = Field(64, ge=1, description="Longest answer [tokens].")
    batch_size: int = Field(64, ge=1, description="Prompts generated at once.")
    rows: int | None = Field(200, ge=1, description="Rows of the test split that are answered; null: all.")
    stop: list[str] = Field(default_factory=list, description="Texts at which an answer is cut off.")
    format_regex: str | None = Field(
        None,
        description="An answer has the right format when it ended by itself and "
        "this regular expression matches all of it; null: it ended by itself.",
    )


class HeadSection(Section):
    """``head:``: the new layers that a task puts on the base (not for CAUSAL_LM and SEQ_2_SEQ_LM, which have none)."""

    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Learning rate of the head where it differs from training.learning_rate: prompts want rates near "
        "0.3, at which a head diverges.",
    )


class LatencySection(Section):
    """``lab.latency``: the grid that the latency measurement walks."""

    batch_sizes: list[int] = Field(default_factory=list, description="Prompts at once.")
    lengths: list[int] = Field(default_factory=list, description="Lengths of the prompts [tokens].")


class LabSection(Section):
    """``lab:`` (optional): what only the notebooks read."""

    minutes: dict[str, float] = Field(default_factory=dict, description="Expected minutes of each notebook.")
    disk_gb: float | None = Field(None, ge=0, description="Disk space needed [GB].")
    ram_gb: float | None = Field(None, ge=0, description="Memory needed [GB].")
    gpu_gb: float | None = Field(None, ge=0, description="GPU memory needed [GB]; null: no GPU needed.")
    gated: bool = Field(False, description="Whether the model must be asked for on the Hub.")
    gated_help: str | None = Field(None, description="How to ask for it, and what to use instead.")
    seeds: list[int] = Field(default_factory=lambda: [0], description="Seeds of the repeated runs.")
    ranks: list[int] = Field(default_factory=list, description="Ranks of the sweep.")
    compare: list[str] = Field(default_factory=list, description="Methods that are compared.")
    sweep_steps: int | None = Field(None, ge=1, description="Steps of one run of the sweep; null: as training.")
    learning_rates: dict[str, float] = Field(
        default_factory=dict,
        description="Learning rates of the compared methods where they differ from training.learning_rate.",
    )
    latency: LatencySection = Field(default_factory=LatencySection, description="What the latency cell measures.")


@cache
def training_section() -> type[Section]:
    """The ``training:`` section: exactly the fields of the installed transformers.TrainingArguments."""
    from transformers import TrainingArguments

    hints = typing.get_type_hints(TrainingArguments)
    fields: dict[str, Any] = {}
    for spec in dataclasses.fields(TrainingArguments):
        if not spec.init or spec.name.startswith("_"):
            continue
        default = spec.default if spec.default is not dataclasses.MISSING else None
        default = default.value if isinstance(default, enum.Enum) else default
        hint = hints[spec.name]
        if default is None:
            hint = hint | None
        text = str(spec.metadata.get("help", "")).replace("%%", "%")
        fields[spec.name] = (_strict_hint(hint), Field(default, description=text))
    return create_model("TrainingSection", __base__=Section, **fields)


def _strict_hint(hint: Any) -> Any:
    """A hint in which ``Enum | str`` allows the enum's values only, and foreign classes are left out."""
    choices = typing.get_args(hint) or (hint,)
    if typing.get_origin(hint) not in (Union, type(int | str)):
        return hint
    enums = [one for one in choices if isinstance(one, type) and issubclass(one, enum.Enum)]
    if enums:
        literal = Literal[tuple(member.value for one in enums for member in one)]
        return literal | None if type(None) in choices else literal
    plain = [one for one in choices if one is type(None) or _is_plain(one)]
    return Union[tuple(plain)]  # noqa: UP007 - built at run time


def _is_plain(hint: Any) -> bool:
    base = typing.get_origin(hint) or hint
    inner = typing.get_args(hint)
    enums = any(isinstance(one, type) and issubclass(one, enum.Enum) for one in inner)
    return base in (str, int, float, bool, dict, list) and not enums


def peft_union() -> Any:
    """The ``peft:`` section: one of the registered methods' sections, told apart by ``method``."""
    sections = tuple(method.section for method in METHODS.values())
    return Annotated[Union[sections], Field(discriminator="method")]  # noqa: UP007 - built at run time
