"""Faults that lie between several keys of a configuration. They look at the raw values, so that they are reported
together with the faults of single keys."""

from __future__ import annotations

import string
from collections.abc import Iterator

from shared.finetune.faults import Fault
from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS
from shared.finetune.yaml_source import Source


def cross_checks(source: Source) -> list[Fault]:
    """All faults between keys.

    Args:
        source: The raw configuration, a mapping.
    """
    return [
        fault
        for check in (_task, _metric, _method, _quantization, _precision, _template, _login, _best_model, _lab)
        for fault in check(source)
    ]


def _section(source: Source, *path: str) -> dict:
    found = source.get(path)
    return found if isinstance(found, dict) else {}


TASKS_WITH_HEAD = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
TASKS_WITH_TEMPLATE = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
OWN_KEYS = {  # keys of dataset: that mean something for some tasks only
    "text_columns": ("SEQ_CLS", "TOKEN_CLS"),
    "label_column": ("SEQ_CLS", "TOKEN_CLS"),
    "max_length": ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "SEQ_2_SEQ_LM"),
    "max_target_length": ("SEQ_2_SEQ_LM",),
    "doc_stride": ("QUESTION_ANS",),
    "prompt_template": TASKS_WITH_TEMPLATE,
    "response_field": TASKS_WITH_TEMPLATE,
    "response_marker": TASKS_WITH_TEMPLATE,
    "input_template": TASKS_WITH_TEMPLATE,
    "messages_field": ("CAUSAL_LM",),
    "train_on": ("CAUSAL_LM",),
}


def _task(source: Source) -> Iterator[Fault]:
    task = source.get(("task_type",), "CAUSAL_LM")
    if task != "CAUSAL_LM" and _section(source, "sft"):
        cure = "remove the section; the longest input is dataset.max_length here"
        yield source.fault(("sft",), f"the section is for CAUSAL_LM, the task is {task}", cure, value=None)
    if task not in TASKS_WITH_HEAD and _section(source, "head"):
        yield source.fault(("head",), f"{task} has no new head", "remove the section", value=None)
    for key, tasks in OWN_KEYS.items():
        if key in _section(source, "dataset") and task not in tasks:
            why = f"means nothing for {task}; it is for {', '.join(tasks)}"
            cure = "use sft.max_length" if (key, task) == ("max_length", "CAUSAL_LM") else "remove the key"
            yield source.fault(("dataset", key), why, cure)
    if task == "TOKEN_CLS" and len(_section(source, "dataset").get("text_columns") or [0]) > 1:
        yield source.fault(("dataset", "text_columns"), "words stand in one column", "name one column")


def _metric(source: Source) -> Iterator[Fault]:
    task, section = source.get(("task_type",), "CAUSAL_LM"), _section(source, "evaluation")
    for key in ("metric", "tests_field"):
        if key in section and task != "CAUSAL_LM" and task in TASKS:
            own = ", ".join(TASKS[task].metrics)
            yield source.fault(("evaluation", key), f"is for CAUSAL_LM; {task} is scored by {own}", "remove the key")
    if "tests_field" in section and section.get("metric") != "pass_at_1" and task == "CAUSAL_LM":
        yield source.fault(("evaluation", "tests_field"), "is not used: metric is not pass_at_1", "remove the key")


def _method(source: Source) -> Iterator[Fault]:
    section = _section(source, "peft")
    method = METHODS.get(str(section.get("method")))
    if method and method.no_checkpointing and source.get(("training", "gradient_checkpointing")) is True:
        yield source.fault(
            ("training", "gradient_checkpointing"),
            f"does not go with {method.name}: {method.no_checkpointing}",
            "write gradient_checkpointing: false; a prefix needs little memory anyway",
        )
    if section.get("init") == "text" and not section.get("init_text"):
        yield source.fault(("peft", "init_text"), "is missing: init is text", "write the text to start from")
    if section.get("init_text") and section.get("init", "vocab") != "text":
        yield source.fault(("peft", "init_text"), "is not used: init is not text", "write init: text")
    if section.get("bottleneck") is not None and "reduction_factor" in section:
        yield source.fault(("peft", "reduction_factor"), "bottleneck is set too", "keep one of the two")
    ranks = section.get("init_r", 12), section.get("target_r", 8)
    if section.get("method") == "adalora" and all(isinstance(one, int) for one in ranks) and ranks[1] > ranks[0]:
        yield source.fault(("peft", "target_r"), f"is above init_r ({ranks[0]}): ranks only fall", "lower target_r")


def _quantization(source: Source) -> Iterator[Fault]:
    quantization = _section(source, "model", "quantization")
    bits = [key for key in ("load_in_4bit", "load_in_8bit") if quantization.get(key) is True]
    if len(bits) == 2:
        yield source.fault(("model", "quantization", "load_in_8bit"), "4 and 8 bits at once", "keep one of the two")
    method = METHODS.get(str(source.get(("peft", "method"))))
    if bits and method and method.no_quantized:
        yield source.fault(
            ("model", "quantization", bits[0]),
            f"a quantised base can't be trained with method {method.name}: {method.no_quantized}",
            "use method: lora (QLoRA), or remove model.quantization",
        )


def _precision(source: Source) -> Iterator[Fault]:
    training = _section(source, "training")
    if training.get("bf16") is True and training.get("fp16") is True:
        yield source.fault(("training", "fp16"), "bf16 and fp16 at once", "keep bf16: its range needs no loss scaling")
    half = source.get(("model", "dtype")) == "float16"
    if half and not _section(source, "model", "quantization") and source.get(("peft", "method")) == "full":
        yield source.fault(
            ("model", "dtype"),
            "weights trained in float16 overflow or stop moving",
            "use float32 (with training.fp16 or bf16) or bfloat16",
        )


def _template(source: Source) -> Iterator[Fault]:
    data = _section(source, "dataset")
    template, marker = data.get("prompt_template"), data.get("response_marker")
    task = source.get(("task_type",), "CAUSAL_LM")
    if data and not template and not marker and task == "SEQ_2_SEQ_LM":
        yield source.fault(
            ("dataset",),
            "neither prompt_template nor response_marker: what is the prompt?",
            'add prompt_template: "Question: {question}\\nAnswer: {answer}"',
            value=None,
        )
    if template and marker:
        yield source.fault(
            ("dataset", "response_marker"),
            "prompt_template is set too",
            "keep prompt_template for data in columns, response_marker for data in one text",
        )
    for key in ("messages_field", "train_on"):
        if key in data and (template or marker) and task == "CAUSAL_LM":
            other = "prompt_template" if template else "response_marker"
            yield source.fault(("dataset", key), f"is for chats, but {other} makes the prompts", "keep one of the two")
    if isinstance(template, str):
        yield from _placeholders(source, template, data.get("response_field"))
    wrap = data.get("input_template")
    if isinstance(wrap, str) and "{text}" not in wrap:
        yield source.fault(("dataset", "input_template"), "holds no {text}", "write {text} where the input goes")


def _placeholders(source: Source, template: str, response: object) -> Iterator[Fault]:
    path = ("dataset", "prompt_template")
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        yield source.fault(path, f"not a template: {error}", "write {column}; a brace itself is written {{ or }}")
        return
    if not fields or "" in fields:
        yield source.fault(
            path,
            "a placeholder has no column name" if fields else "holds no {column}",
            "write {column} for each column, the response's last",
        )
    elif isinstance(response, str) and fields[-1] != response:
        if response in fields:
            yield source.fault(
                ("dataset", "response_field"),
                f"{{{response}}} is not the template's last placeholder",
                f"move {{{response}}} behind {{{fields[-1]}}}: the prompt is what stands before it",
            )
        else:
            yield source.fault(
                ("dataset", "response_field"),
                f"{{{response}}} does not stand in prompt_template",
                f"add {{{response}}} at the template's end, or choose from: {', '.join(fields)}",
            )


def _login(source: Source) -> Iterator[Fault]:
    if isinstance(source.get(("model", "use_auth_token")), str):
        yield source.fault(
            ("model", "use_auth_token"),
            "a token must never stand in a file",
            "run `hf auth login` and write use_auth_token: true; revoke the token if this file was shared",
            value="(hidden)",
        )
    if isinstance(source.get(("training", "hub_token")), str):
        yield source.fault(
            ("training", "hub_token"), "a token must never stand in a file", "run `hf auth login`", value="(hidden)"
        )


def _best_model(source: Source) -> Iterator[Fault]:
    training = _section(source, "training")
    if training.get("load_best_model_at_end") is not True:
        return
    evaluates, saves = training.get("eval_strategy", "no"), training.get("save_strategy", "steps")
    if evaluates != saves and saves != "best":
        yield source.fault(
            ("training", "load_best_model_at_end"),
            f"needs evaluation and saving together, but eval_strategy is {evaluates} and save_strategy is {saves}",
            "set both to the same, for example steps",
        )
    elif evaluates == "steps":
        every = training.get("eval_steps", training.get("logging_steps", 500))
        save = training.get("save_steps", 500)
        if isinstance(every, int) and isinstance(save, int) and every and save % every:
            yield source.fault(
                ("training", "save_steps"),
                f"is not a multiple of eval_steps ({every}), so some checkpoints would have no score",
                f"write {every * max(1, round(save / every))}",
            )


def _lab(source: Source) -> Iterator[Fault]:
    for number, name in enumerate(source.get(("lab", "compare")) or []):
        if name not in METHODS and name != "qlora":
            yield source.fault(
                ("lab", "compare", number), "there is no such method", "choose from: " + ", ".join([*METHODS, "qlora"])
            )
