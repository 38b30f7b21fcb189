"""The schema of a configuration: the keys of the YAML file, with effect and unit."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from shared.finetune.methods import METHODS
from shared.finetune.schema.library_arguments import NOT_IN_SFT, library_fields


class Section(BaseModel):
    """What all sections share: unknown keys are errors, and values keep their YAML type."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Quantization(Section):
    """``model.quantization``: names and meanings of transformers' BitsAndBytesConfig."""

    load_in_4bit: bool = Field(False, description="Store the frozen linear weights in 4 bits.")
    load_in_8bit: bool = Field(False, description="Store the frozen linear weights in 8 bits.")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = Field(
        "nf4", description="The 4-bit data type: nf4 is suited to normally distributed weights."
    )
    bnb_4bit_use_double_quant: bool = Field(
        True, description="Also quantise the scale factors: 0.127 instead of 0.5 extra bits per weight."
    )
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="The dtype of the matrix products; the weights are dequantised to it."
    )


class ModelSection(Section):
    """``model:``: the base model and its dtype."""

    name_or_path: str = Field(
        description="tiny:<name> (embedded), fetched:<name> (peft-labs fetch-models), a model folder, or a Hub id."
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; null is the main branch.")
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        "float32", description="Dtype of the loaded weights [4, 2 or 2 bytes per weight; auto: as stored]."
    )
    trust_remote_code: bool = Field(False, description="true runs Python code that comes with the model.")
    use_auth_token: bool = Field(
        False,
        description="true uses your Hub login (hf auth login) for gated models; a token itself is never "
        "written to a file.",
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="Attention kernel; null lets transformers choose."
    )
    quantization: Quantization | None = Field(None, description="4- or 8-bit storage of the frozen base (QLoRA).")


class _BothNames(Section):
    """A section with keys that have an older name too."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class DatasetSection(_BothNames):
    """``dataset:``: the rows, and how a row becomes a prompt and a completion."""

    name: str = Field(
        description="tiny:<task>, fetched:<name>, a local .jsonl/.csv/.parquet file or a folder with "
        "one file per split, or a Hub id."
    )
    config: str | None = Field(
        None,
        description="The Hub dataset's configuration (for example main for gsm8k); for tiny:<task> the difficulty "
        "(easy, normal, hard).",
    )
    revision: str | None = Field(None, description="Hub branch, tag or commit; null is the main branch.")
    train_split: str = Field(
        "train", description="Split to train on; glue_mrpc.yaml shows how a part of a split is written."
    )
    eval_split: str = Field("validation", description="Split for the evaluation during training.")
    test_split: str = Field("test", description="Test split for the metrics at the end.")
    holdout: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="For a single local file: the share of rows [0–0.5] that is held out for evaluation, and "
        "the same share for the test.",
    )
    max_train_rows: int | None = Field(
        None, ge=1, description="Train on this many rows, drawn with a fixed seed [rows]."
    )
    max_eval_rows: int | None = Field(None, ge=1, description="Evaluate on this many rows during training [rows].")
    max_words: dict[str, int] = Field(
        default_factory=dict,
        description="Cut a column after this many words before the template is filled, as in {text: 80} [words].",
    )
    prompt_template: str | None = Field(
        None,
        description="The text of one example with {column} placeholders. Everything before the response is the "
        "prompt; only the response is learned.",
    )
    response_field: str | None = Field(
        None, description="The column with the response; null: the template's last placeholder."
    )
    response_marker: str | None = Field(
        None,
        description="For data with one text column: the prompt ends with the last occurrence of this marker, the "
        "response follows.",
    )
    text_field: str = Field("text", description="The text column that response_marker splits.")
    messages_field: str | None = Field(
        None,
        description="CAUSAL_LM: the column with chats (lists of messages with role and content), rendered by the "
        "tokenizer's chat template; null: messages, if neither prompt_template nor response_marker is set.",
    )
    train_on: Literal["last", "all"] = Field(
        "last", description="Chats: learn the assistant's last turn only, or every turn, each as a separate example."
    )
    input_template: str | None = Field(
        None,
        description="How inference turns a single text into a prompt, with {text}; null: derived from prompt_template.",
    )
    text_columns: list[str] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="SEQ_CLS: the column with the text, or the two with a pair; TOKEN_CLS: the one with the words. "
        "null: those of public datasets (sentence1 and sentence2, premise and hypothesis, sentence, text, tokens).",
    )
    label_column: str | None = Field(
        None, description="SEQ_CLS, TOKEN_CLS: the column with the labels; null: label, or ner_tags."
    )
    regression: bool | None = Field(
        None,
        validation_alias=AliasChoices("regression", "degrees"),  # the name of older versions
        description="SEQ_CLS: true: labels are numbers on a scale instead of classes: one output, mean squared error, "
        "correlation as metric. null: as for the GLUE task in dataset.config (true for stsb), else false.",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="Longest input [tokens], for all tasks except CAUSAL_LM (there: sft.max_length); the rest is cut. "
        "null: 512, or the model's number of positions if that is smaller.",
    )
    max_target_length: int = Field(
        128, ge=2, description="SEQ_2_SEQ_LM: longest reference [tokens]; the rest is cut off."
    )
    doc_stride: int = Field(
        64, ge=1, description="QUESTION_ANS: overlap of the windows into which a long context is split [tokens]."
    )


class EvaluationSection(Section):
    """``evaluation:``: how answers are generated and scored."""

    metric: Literal["exact_match", "final_number", "pass_at_1"] = Field(
        "exact_match",
        description="CAUSAL_LM: which answers are correct. exact_match: equal to the reference; final_number: the same "
        "number (after ####, else after 'The answer is', else the last one); pass_at_1: the last ```python block "
        "passes the row's tests, run on this machine.",
    )
    perplexity: bool = Field(
        False,
        description="CAUSAL_LM, SEQ_2_SEQ_LM: also compute the perplexity (exp of the mean loss per token) of the "
        "references; one more pass over the rows.",
    )
    tests_field: str = Field("tests", description="pass_at_1: the column with the tests, Python code with asserts.")
    max_new_tokens: int = Field(64, ge=1, description="Longest answer [tokens].")
    batch_size: int = Field(64, ge=1, description="Batch size of generation [prompts].")
    rows: int | None = Field(200, ge=1, description="Number of test rows that are answered [rows]; null: all.")
    stop: list[str] = Field(default_factory=list, description="Texts at which an answer is cut off.")
    format_regex: str | None = Field(
        None,
        description="An answer has the right format if it ends with the end-of-text token and this regular "
        "expression matches all of it; null: if it ends with the end-of-text token.",
    )


class HeadSection(Section):
    """``head:``: the new layers that a task adds to the base (not for CAUSAL_LM and SEQ_2_SEQ_LM, which have none)."""

    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Learning rate of the head, if it differs from training.learning_rate: prompts need learning "
        "rates near 0.3, at which a head diverges.",
    )


class EarlyStoppingSection(Section):
    """``early_stopping:``: stop training when the evaluation no longer improves; needs load_best_model_at_end."""

    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after this many evaluations in a row without a better training.metric_for_best_model; "
        "null: never [evaluations].",
    )
    threshold: float = Field(0.0, ge=0, description="Smallest improvement that counts as better [the metric's unit].")


class LatencySection(Section):
    """``lab.latency``: the grid of the latency measurement."""

    batch_sizes: list[int] = Field(default_factory=list, description="Sizes of the batches [prompts].")
    lengths: list[int] = Field(default_factory=list, description="Lengths of the prompts [tokens].")


class LabSection(Section):
    """``lab:`` (optional): settings that only the notebooks read."""

    minutes: dict[str, float] = Field(default_factory=dict, description="Expected time of each notebook [minutes].")
    disk_gb: float | None = Field(None, ge=0, description="Disk space needed [GB].")
    ram_gb: float | None = Field(None, ge=0, description="Memory needed [GB].")
    gpu_gb: float | None = Field(None, ge=0, description="GPU memory needed [GB]; null: no GPU needed.")
    gated: bool = Field(False, description="Whether the model needs an access request on the Hub.")
    gated_help: str | None = Field(None, description="How to request access, and which model to use instead.")
    seeds: list[int] = Field(default_factory=lambda: [0], description="Seeds of the repeated runs.")
    ranks: list[int] = Field(default_factory=list, description="Ranks of the sweep.")
    compare: list[str] = Field(default_factory=list, description="Methods to compare.")
    sweeps: dict[str, list[float | int | str]] = Field(
        default_factory=dict,
        description="Values of the notebooks' sweeps, by key, such as training.learning_rate.",
    )
    second_task: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of dataset: for a second task on the same base; the others are those of the first.",
    )
    second_task_steps: int | None = Field(
        None, ge=1, description="Training steps of the second task [steps]; null: as training."
    )
    sweep_steps: int | None = Field(
        None, ge=1, description="Training steps of one run of the sweep [steps]; null: as training."
    )
    learning_rates: dict[str, float] = Field(
        default_factory=dict,
        description="Learning rates of the compared methods, if they differ from training.learning_rate.",
    )
    latency: LatencySection = Field(default_factory=LatencySection, description="Settings of the latency measurement.")


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


def peft_union() -> Any:
    """The ``peft:`` section: one of the registered methods' sections, selected by ``method``."""
    sections = tuple(method.section for method in METHODS.values())
    return Annotated[Union[sections], Field(discriminator="method")]  # noqa: UP007 - built at run time
