"""Checks that involve several keys of a configuration. They use the raw values, so that their problems are reported
together with those of single keys."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.config.training_checks import CHECKS
from shared.finetune.methods import METHODS
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.sections import DatasetSection
from shared.finetune.schema.yaml_source import Source, section_of
from shared.finetune.tasks import TASKS


def cross_checks(source: Source) -> list[Problem]:
    """All problems between keys.

    Args:
        source: The raw configuration, a mapping.
    """
    return [
        problem
        for check in (_task, _metric, _method, _prompt, _packing, _quantization, _template, _lab, *CHECKS)
        for problem in check(source)
    ]


TASKS_WITH_TEMPLATE = ("CAUSAL_LM", "SEQ_2_SEQ_LM")
OWN_KEYS = {  # keys of dataset: that only some tasks use
    "text_columns": ("SEQ_CLS", "TOKEN_CLS"),
    "label_column": ("SEQ_CLS", "TOKEN_CLS"),
    "regression": ("SEQ_CLS",),
    "degrees": ("SEQ_CLS",),  # the older name of regression
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


def _task_of(source: Source) -> str | None:
    """The task type; None if it is unknown."""
    task = source.get(("task_type",), "CAUSAL_LM")
    return task if isinstance(task, str) and task in TASKS else None


def _task(source: Source) -> Iterator[Problem]:
    task = _task_of(source)
    if task is None:  # reported by itself; keys that depend on it can't be checked
        return
    sft, data = section_of(source, "sft"), section_of(source, "dataset")
    if task != "CAUSAL_LM" and sft.get("packing") is True:
        why = f"packing puts several examples into one sequence, but {task} learns one answer per sequence"
        yield source.problem(("sft", "packing"), why, "remove the section sft:, which is for CAUSAL_LM")
    elif task != "CAUSAL_LM" and sft:
        fix = "remove the section; the longest input is dataset.max_length here"
        yield source.problem(("sft",), f"the section is for CAUSAL_LM, the task is {task}", fix, value=None)
    if not TASKS[task].has_head and section_of(source, "head"):
        yield source.problem(("head",), f"{task} has no new head", "remove the section", value=None)
    for key, tasks in OWN_KEYS.items():
        if key in data and task not in tasks:
            why = f"is not used by {task}; it is for {', '.join(tasks)}"
            fix = "use sft.max_length" if (key, task) == ("max_length", "CAUSAL_LM") else "remove the key"
            yield source.problem(("dataset", key), why, fix)
    columns = data.get("text_columns")
    if task == "TOKEN_CLS" and isinstance(columns, list) and len(columns) > 1:
        yield source.problem(("dataset", "text_columns"), "the words are in one column", "name one column")


def _metric(source: Source) -> Iterator[Problem]:
    task, section = _task_of(source), section_of(source, "evaluation")
    for key in ("metric", "tests_field"):
        if key in section and task not in (None, "CAUSAL_LM"):
            own = ", ".join(TASKS[task].metrics)
            yield source.problem(("evaluation", key), f"is for CAUSAL_LM; {task} is scored by {own}", "remove the key")
    if "tests_field" in section and section.get("metric") != "pass_at_1" and task == "CAUSAL_LM":
        yield source.problem(("evaluation", "tests_field"), "is not used: metric is not pass_at_1", "remove the key")
    if (pattern := section.get("format_regex")) and isinstance(pattern, str):
        yield from _pattern(source, ("evaluation", "format_regex"), pattern)


def _pattern(source: Source, path: tuple, pattern: str) -> Iterator[Problem]:
    try:
        re.compile(pattern)
    except re.error as error:
        fix = "correct it; write a backslash before a literal parenthesis, dot or plus"
        yield source.problem(path, f"not a regular expression: {error}", fix)


def _method(source: Source) -> Iterator[Problem]:
    section = section_of(source, "peft")
    method = METHODS.get(str(section.get("method")))
    if method and method.no_checkpointing and source.get(("training", "gradient_checkpointing")) is True:
        yield source.problem(
            ("training", "gradient_checkpointing"),
            f"can't be combined with {method.name}: {method.no_checkpointing}",
            "write gradient_checkpointing: false",
        )
    if section.get("init") == "text" and not section.get("init_text"):
        yield source.problem(("peft", "init_text"), "is missing: init is text", "write the text to start from")
    if section.get("init_text") and section.get("init", "vocab") != "text":
        yield source.problem(("peft", "init_text"), "is not used: init is not text", "write init: text")
    if section.get("bottleneck") is not None and "reduction_factor" in section:
        yield source.problem(("peft", "reduction_factor"), "bottleneck is set too", "keep one of the two")
    ranks = section.get("init_r", 12), section.get("target_r", 8)
    if section.get("method") == "adalora" and all(isinstance(one, int) for one in ranks) and ranks[1] > ranks[0]:
        yield source.problem(
            ("peft", "target_r"), f"is above init_r ({ranks[0]}), but ranks only decrease", "lower target_r"
        )
    early, late, steps = section.get("tinit"), section.get("tfinal"), source.get(("training", "max_steps"))
    if section.get("method") == "adalora" and _whole(steps) and steps > 0 and (_whole(early) or _whole(late)):
        early = early if _whole(early) else steps // 10
        late = late if _whole(late) else 3 * steps // 10
        if early + late >= steps:
            key = "tfinal" if section.get("tfinal") is not None else "tinit"
            why = f"tinit ({early}) and tfinal ({late}) leave no step of {steps} for pruning"
            yield source.problem(("peft", key), why, "lower it, or raise training.max_steps")
    yield from _targets(source, section)


def _targets(source: Source, section: dict) -> Iterator[Problem]:
    """What peft refuses about layer names, for any architecture."""
    targets, feedforward = section.get("target_modules"), section.get("feedforward_modules")
    if targets == []:
        fix = "name layers, or write all-linear" if section.get("method") != "ia3" else "name layers, or remove the key"
        yield source.problem(("peft", "target_modules"), "names no layer, so nothing would be trained", fix)
    if isinstance(targets, str) and targets != "all-linear":
        yield from _pattern(source, ("peft", "target_modules"), targets)
    if section.get("layers_to_transform") is not None and not isinstance(targets, list):
        fix = "name the layers as a list: target_modules: [q_proj, v_proj]"
        yield source.problem(("peft", "layers_to_transform"), "needs target_modules as a list of names", fix)
    if feedforward is not None and section.get("method") == "ia3" and targets is None:
        why = "is only used together with target_modules"
        yield source.problem(("peft", "feedforward_modules"), why, "set target_modules too, or remove the key")
    if isinstance(feedforward, list) and isinstance(targets, list):
        for number, name in enumerate(feedforward):
            if name not in targets:
                path, why = ("peft", "feedforward_modules", number), "is not in target_modules"
                yield source.problem(path, why, f"add {name} to target_modules, or remove it here")


def _prompt(source: Source) -> Iterator[Problem]:
    """Virtual tokens use positions of the sequence."""
    section, task = section_of(source, "peft"), _task_of(source)
    own = {"num_virtual_tokens", "method"} <= set(section)
    tokens = section.get("num_virtual_tokens") if own else None
    where = ("sft", "max_length") if task == "CAUSAL_LM" else ("dataset", "max_length")
    longest = section_of(source, where[0]).get("max_length", section_of(source, where[0]).get("max_seq_length"))
    if _whole(tokens) and _whole(longest) and tokens >= longest:
        why = f"the prompt is at least as long as the longest input ({'.'.join(where)}: {longest})"
        yield source.problem(
            ("peft", "num_virtual_tokens"), why, f"write fewer than {longest}; the papers use 5 to 100"
        )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _packing(source: Source) -> Iterator[Problem]:
    sft, method = section_of(source, "sft"), METHODS.get(str(source.get(("peft", "method"))))
    if sft.get("packing") is not True or _task_of(source) != "CAUSAL_LM":
        return
    if "max_length" in sft and sft["max_length"] is None:
        why = "packing needs a maximum length, and none is set"
        yield source.problem(("sft", "max_length"), why, "write max_length: 1024, or packing: false")
    if method and "num_virtual_tokens" in method.section.model_fields:
        why = f"can't be combined with {method.name}: only the first packed example would follow the prompt"
        yield source.problem(("sft", "packing"), why, "write packing: false")


def _quantization(source: Source) -> Iterator[Problem]:
    quantization = section_of(source, "model", "quantization")
    bits = [key for key in ("load_in_4bit", "load_in_8bit") if quantization.get(key) is True]
    if quantization and not bits:
        why = "has settings, but neither load_in_4bit nor load_in_8bit: the base would not be quantised"
        yield source.problem(
            ("model", "quantization"), why, "add load_in_4bit: true, or remove the section", value=None
        )
    if bits and source.get(("peft", "init_lora_weights")) == "pissa":
        why = "PiSSA decomposes the weights, which needs a base that is not quantised"
        yield source.problem(("peft", "init_lora_weights"), why, "write true or olora, or remove model.quantization")
    if len(bits) == 2:
        yield source.problem(("model", "quantization", "load_in_8bit"), "4 and 8 bits at once", "keep one of the two")
    method = METHODS.get(str(source.get(("peft", "method"))))
    if bits and method and method.no_quantized:
        yield source.problem(
            ("model", "quantization", bits[0]),
            f"a quantised base can't be trained with method {method.name}: {method.no_quantized}",
            "use method: lora (QLoRA), or remove model.quantization",
        )


def _template(source: Source) -> Iterator[Problem]:
    data = section_of(source, "dataset")
    template, marker = data.get("prompt_template"), data.get("response_marker")
    task, misspelt = _task_of(source), set(data) - set(DatasetSection.model_fields)
    if data and not template and not marker and task == "SEQ_2_SEQ_LM" and not misspelt:
        yield source.problem(
            ("dataset",),
            "neither prompt_template nor response_marker defines the prompt",
            'add prompt_template: "Question: {question}\\nAnswer: {answer}"',
            value=None,
        )
    if template and marker:
        yield source.problem(
            ("dataset", "response_marker"),
            "prompt_template is set too",
            "keep prompt_template for data in columns, response_marker for data in one text column",
        )
    for key in ("messages_field", "train_on"):
        if key in data and (template or marker) and task == "CAUSAL_LM":
            other = "prompt_template" if template else "response_marker"
            yield source.problem(
                ("dataset", key), f"is for chats, but {other} makes the prompts", "keep one of the two"
            )
    if isinstance(template, str):
        yield from _placeholders(source, template, data.get("response_field"))
    wrap = data.get("input_template")
    if isinstance(wrap, str) and "{text}" not in wrap:
        yield source.problem(("dataset", "input_template"), "has no {text}", "write {text} where the input goes")


def _placeholders(source: Source, template: str, response: object) -> Iterator[Problem]:
    path = ("dataset", "prompt_template")
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        yield source.problem(path, f"not a template: {error}", "write {column}; a literal brace is written {{ or }}")
        return
    if not fields or "" in fields:
        yield source.problem(
            path,
            "a placeholder has no column name" if fields else "has no {column}",
            "write {column} for each column, the response last",
        )
    elif isinstance(response, str) and fields[-1] != response:
        if response in fields:
            yield source.problem(
                ("dataset", "response_field"),
                f"{{{response}}} is not the template's last placeholder",
                f"move {{{response}}} after {{{fields[-1]}}}: everything before the response is the prompt",
            )
        else:
            yield source.problem(
                ("dataset", "response_field"),
                f"{{{response}}} is not in prompt_template",
                f"add {{{response}}} at the template's end, or choose from: {', '.join(fields)}",
            )


def _lab(source: Source) -> Iterator[Problem]:
    names, known = source.get(("lab", "compare")), [*METHODS, "qlora"]
    for number, name in enumerate(names if isinstance(names, list) else []):
        if isinstance(name, str) and name not in known:
            fix = f"{did_you_mean(name, known)} All are: {', '.join(known)}"
            yield source.problem(("lab", "compare", number), "there is no such method", fix)
