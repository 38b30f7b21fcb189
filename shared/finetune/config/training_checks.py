"""Checks between keys of ``training:`` and the model's dtype; see :mod:`shared.finetune.config.cross_checks`."""

from __future__ import annotations

from collections.abc import Iterator

from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.yaml_source import Source, section_of
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.regression import SCORES as REGRESSION_SCORES


def _precision(source: Source) -> Iterator[Problem]:
    training = section_of(source, "training")
    if training.get("bf16") is True and training.get("fp16") is True:
        yield source.problem(
            ("training", "fp16"), "bf16 and fp16 at once", "keep bf16: its range needs no loss scaling"
        )
    half = source.get(("model", "dtype")) == "float16"
    if half and not section_of(source, "model", "quantization") and source.get(("peft", "method")) == "full":
        yield source.problem(
            ("model", "dtype"),
            "training float16 weights overflows or makes no progress",
            "use float32 (with training.fp16 or bf16) or bfloat16",
        )
    if source.get(("model", "attn_implementation")) == "flash_attention_2":
        if source.get(("model", "dtype"), "float32") == "float32":
            fix = "write dtype: bfloat16, or attn_implementation: sdpa"
            why = "FlashAttention supports 16-bit dtypes only, and model.dtype is float32"
            yield source.problem(("model", "attn_implementation"), why, fix)
        elif training.get("use_cpu") is True:
            why = "FlashAttention needs a CUDA GPU, and training.use_cpu is true"
            yield source.problem(("model", "attn_implementation"), why, "write attn_implementation: sdpa")


def _login(source: Source) -> Iterator[Problem]:
    if isinstance(source.get(("model", "use_auth_token")), str):
        yield source.problem(
            ("model", "use_auth_token"),
            "a token must not be written to a file",
            "run `hf auth login` and write use_auth_token: true; revoke the token if this file was shared",
            value="(hidden)",
        )
    for key in ("hub_token", "push_to_hub_token"):
        if isinstance(source.get(("training", key)), str):
            why = "a token must not be written to a file"
            yield source.problem(("training", key), why, "run `hf auth login`", value="(hidden)")


def _best_model(source: Source) -> Iterator[Problem]:
    training = section_of(source, "training")
    if training.get("load_best_model_at_end") is not True:
        return
    evaluates, saves = training.get("eval_strategy", "no"), training.get("save_strategy", "steps")
    if evaluates != saves and saves != "best":
        yield source.problem(
            ("training", "load_best_model_at_end"),
            f"needs evaluation and saving together, but eval_strategy is {evaluates} and save_strategy is {saves}",
            "set both to the same, for example steps",
        )
    elif evaluates == "steps":
        every = training.get("eval_steps", training.get("logging_steps", 500))
        save = training.get("save_steps", 500)
        if isinstance(every, int) and isinstance(save, int) and every and save % every:
            yield source.problem(
                ("training", "save_steps"),
                f"is not a multiple of eval_steps ({every}), so some checkpoints would have no score",
                f"write {every * max(1, round(save / every))}",
            )


def _schedule(source: Source) -> Iterator[Problem]:
    training = section_of(source, "training")
    evaluates = training.get("eval_strategy", "no")
    if training.get("lr_scheduler_type") == "reduce_lr_on_plateau" and evaluates == "no":
        why = "uses the evaluation loss, and eval_strategy is no"
        yield source.problem(("training", "lr_scheduler_type"), why, "write eval_strategy: epoch, or another scheduler")
    if training.get("dataloader_prefetch_factor") is not None and not training.get("dataloader_num_workers"):
        why = "needs worker processes, and dataloader_num_workers is 0"
        yield source.problem(("training", "dataloader_prefetch_factor"), why, "write dataloader_num_workers: 2")
    for key in ("logging_steps", "eval_steps", "save_steps"):
        number = training.get(key)
        if isinstance(number, float) and number > 1 and number != int(number):
            why = "neither a whole number of steps nor a share of all steps (below 1)"
            yield source.problem(("training", key), why, f"write {round(number)}")


def _resume(source: Source) -> Iterator[Problem]:
    training = section_of(source, "training")
    if training.get("resume_from_checkpoint") is not None:
        why = "is not used by transformers' Trainer: the run would start from the beginning"
        fix = "remove the key; `peft-labs train --config … --resume` continues from the last checkpoint"
        yield source.problem(("training", "resume_from_checkpoint"), why, fix)
    if training.get("save_only_model") is True and training.get("load_best_model_at_end") is not True:
        why = "leaves the optimizer state out of the checkpoints, so that a run can't be resumed"
        yield source.problem(("training", "save_only_model"), why, "write save_only_model: false, or save_strategy: no")


def _report(source: Source) -> Iterator[Problem]:
    asked = source.get(("training", "report_to"))
    names = asked if isinstance(asked, list) else [asked]
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = [*INTEGRATION_TO_CALLBACK, "all", "none"]
    for number, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            path = ("training", "report_to", number) if isinstance(asked, list) else ("training", "report_to")
            yield source.problem(path, "there is no such integration", did_you_mean(name, known))


def _early_stopping(source: Source) -> Iterator[Problem]:
    training, task = section_of(source, "training"), source.get(("task_type",), "CAUSAL_LM")
    best = training.get("load_best_model_at_end") is True
    if section_of(source, "early_stopping").get("patience") is not None and not best:
        yield source.problem(
            ("early_stopping", "patience"),
            "training would not end with the best weights: load_best_model_at_end is not true",
            "write training.load_best_model_at_end: true, and eval_strategy and save_strategy: steps (or epoch)",
        )
    metric = training.get("metric_for_best_model")
    if isinstance(metric, str) and task in TASKS:
        known = ["loss", *dict.fromkeys((*TASKS[task].metrics, *_own_metrics(source, task)))]
        if metric.removeprefix("eval_") not in known:
            yield source.problem(
                ("training", "metric_for_best_model"), f"is not a metric of {task}", did_you_mean(metric, known)
            )


def _perplexity(source: Source) -> Iterator[Problem]:
    task = source.get(("task_type",), "CAUSAL_LM")
    if section_of(source, "evaluation").get("perplexity") is True and task in TASKS and TASKS[task].has_head:
        yield source.problem(
            ("evaluation", "perplexity"), f"{task} generates no text", "remove the key, or write false"
        )


def _own_metrics(source: Source, task: str) -> list[str]:
    if task == "SEQ_CLS":
        return list(REGRESSION_SCORES)
    return [source.get(("evaluation", "metric"), "exact_match")] if task == "CAUSAL_LM" else []


CHECKS = (_precision, _login, _best_model, _early_stopping, _perplexity, _schedule, _resume, _report)
