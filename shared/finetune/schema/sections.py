"""The schema of a configuration: what may stand in the YAML, with each value's effect and unit."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from shared.finetune.methods import METHODS
from shared.finetune.schema.library_arguments import NOT_IN_SFT, library_fields

TASK_TYPES = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "CAUSAL_LM", "SEQ_2_SEQ_LM")
DTYPES = ("float32", "bfloat16", "float16", "auto")


class Section(BaseModel):
    """What all sections share: unknown keys are problems, and values keep the type they have in the YAML."""

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
    train_split: str = Field("train", description="Split to train on; glue_mrpc.yaml shows how a part is written.")
    eval_split: str = Field("validation", description="Split for the loss during training.")
    test_split: str = Field("test", description="Held-out split for the metrics at the end.")
    holdout: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="A single local file: the share of rows [0–0.5] that is "
        "held out for evaluation, and the same again for the test.",
    )
    max_train_rows: int | None = Field(None, ge=1, description="Train on so many, drawn with a fixed seed [rows].")
    max_eval_rows: int | None = Field(None, ge=1, description="Evaluate the loss on so many [rows].")
    max_words: dict[str, int] = Field(
        default_factory=dict,
        description="Cut a column after so many [words] before it goes into the template, for example {text: 80}.",
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
    degrees: bool | None = Field(
        None,
        description="SEQ_CLS: true: the labels are degrees on a scale instead of classes; one output, squared error, "
        "correlations. null: as the GLUE task in dataset.config has it (stsb), else false.",
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


class EvaluationSection(Section):
    """``evaluation:``: how answers are generated and judged."""

    metric: Literal["exact_match", "final_number", "pass_at_1"] = Field(
        "exact_match",
        description="CAUSAL_LM: which answers are right. exact_match: the reference's text; final_number: its number "
        "(behind ####, else behind 'The answer is', else the last one); pass_at_1: the last ```python block passes the "
        "row's tests, run on this machine.",
    )
    perplexity: bool = Field(
        False,
        description="CAUSAL_LM, SEQ_2_SEQ_LM: also exp of the mean loss per token of the right answers [equally likely "
        "tokens]; one more pass over the rows.",
    )
    tests_field: str = Field("tests", description="pass_at_1: the column with the tests, Python that fails by assert.")
    max_new_tokens: int = Field(64, ge=1, description="Longest answer [tokens].")
    batch_size: int = Field(64, ge=1, description="Generated at once [prompts].")
    rows: int | None = Field(200, ge=1, description="How many of the test split are answered [rows]; null: all.")
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
        description="Learning rate [1] of the head where it differs from training.learning_rate: prompts want "
        "rates near 0.3, at which a head diverges.",
    )


class EarlyStoppingSection(Section):
    """``early_stopping:``: end the training when the evaluation no longer improves; needs load_best_model_at_end."""

    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many evaluations in a row without a better training.metric_for_best_model; "
        "null: never [evaluations].",
    )
    threshold: float = Field(
        0.0, ge=0, description="What counts as better: an improvement by more than this [the metric's unit]."
    )


class LatencySection(Section):
    """``lab.latency``: the grid that the latency measurement walks."""

    batch_sizes: list[int] = Field(default_factory=list, description="Sizes of the batches [prompts].")
    lengths: list[int] = Field(default_factory=list, description="Lengths of the prompts [tokens].")


class LabSection(Section):
    """``lab:`` (optional): what only the notebooks read."""

    minutes: dict[str, float] = Field(default_factory=dict, description="Expected time of each notebook [minutes].")
    disk_gb: float | None = Field(None, ge=0, description="Disk space needed [GB].")
    ram_gb: float | None = Field(None, ge=0, description="Memory needed [GB].")
    gpu_gb: float | None = Field(None, ge=0, description="GPU memory needed [GB]; null: no GPU needed.")
    gated: bool = Field(False, description="Whether the model must be asked for on the Hub.")
    gated_help: str | None = Field(None, description="How to ask for it, and what to use instead.")
    seeds: list[int] = Field(default_factory=lambda: [0], description="Seeds [1] of the repeated runs.")
    ranks: list[int] = Field(default_factory=list, description="Ranks [1] of the sweep.")
    compare: list[str] = Field(default_factory=list, description="Methods that are compared.")
    sweeps: dict[str, list[float | int | str]] = Field(
        default_factory=dict,
        description="Values of the notebooks' sweeps by the key that is varied, such as training.learning_rate.",
    )
    second_task: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of dataset: that make the second task on the same base; the others are the first one's.",
    )
    second_task_steps: int | None = Field(
        None, ge=1, description="Length of the second task's training [steps]; null: as training."
    )
    sweep_steps: int | None = Field(
        None, ge=1, description="Length of one run of the sweep [steps]; null: as training."
    )
    learning_rates: dict[str, float] = Field(
        default_factory=dict,
        description="Learning rates [1] of the compared methods where they differ from training.learning_rate.",
    )
    latency: LatencySection = Field(default_factory=LatencySection, description="What the latency cell measures.")


@cache
def training_section() -> type[Section]:
    """The ``training:`` section: exactly the fields of the installed transformers.TrainingArguments."""
    from transformers import TrainingArguments

    return create_model("TrainingSection", __base__=Section, **library_fields(TrainingArguments))


@cache
def sft_section() -> type[Section]:
    """The ``sft:`` section (CAUSAL_LM only): what the installed trl.SFTConfig adds to TrainingArguments, without the
    fields that this framework sets itself (:data:`NOT_IN_SFT`)."""
    from transformers import TrainingArguments
    from trl import SFTConfig

    taken = {spec.name for spec in dataclasses.fields(TrainingArguments)} | set(NOT_IN_SFT)
    older = {"max_length": AliasChoices("max_length", "max_seq_length")}  # TRL's name until 0.20
    return create_model("SftSection", __base__=_BothNames, **library_fields(SFTConfig, taken, older))


class _BothNames(Section):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


def peft_union() -> Any:
    """The ``peft:`` section: one of the registered methods' sections, told apart by ``method``."""
    sections = tuple(method.section for method in METHODS.values())
    return Annotated[Union[sections], Field(discriminator="method")]  # noqa: UP007 - built at run time
