"""One training run: base, rows, trainer, training, scores; resumable from a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.finetune.common.processes import is_main
from shared.finetune.tasks import TASKS, main_metric, score_names
from shared.finetune.training.arguments import check_deepspeed, sft_arguments, task_arguments
from shared.finetune.training.precision import choose_precision
from shared.finetune.training.trainers import build_task_trainer, build_trainer

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from shared.finetune.config import Config
    from shared.finetune.data.lengths import ResponseLengths
    from shared.finetune.training.interrupt import SaveOnSignal
    from shared.finetune.training.language_model_trainer import AnswerLossTrainer
    from shared.finetune.training.task_trainer import TaskTrainer


@dataclass
class TrainResult:
    """The result of a run.

    Attributes:
        metrics: Scores, seconds, counts of parameters; what ``metrics.json`` holds.
        history: The Trainer's log: one dict per logged step.
        trainer: The trainer with the trained model.
        path: Where it was written; None when nothing was.
        notes: The scored answers, one dict each.
        config: The configuration that was trained by: with the smaller batch, where the memory did not suffice, and the
            text columns that were found.
        batches: Each halving of the batch: from, to, error.
    """

    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    trainer: AnswerLossTrainer | TaskTrainer
    path: Path | None = None
    notes: list[str] = field(default_factory=list)
    config: Config | None = None
    batches: list[dict[str, Any]] = field(default_factory=list)


def run(
    config: Config,
    checkpoints: str | Path,
    seed: int | None = None,
    resume: Path | str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    score: bool = True,
    progress: Any = None,
    show: bool = False,
) -> TrainResult:
    """Train and score by a configuration; nothing is written but checkpoints.

    The steps, in the order in which 02-Train does them visibly: seed, base, rows, adapter, training, scores.

    Args:
        config: The configuration.
        checkpoints: Folder for the Trainer's checkpoints.
        seed: None takes ``training.seed`` where it is set, else 0.
        resume: A checkpoint folder to resume from.
        callbacks: Further callbacks for the Trainer.
        score: Whether answers are generated and scored at the end.
        progress: Called with the number of scored answers.
        show: Whether progress and warnings are shown as on the command line; the metrics hold the warnings anyway.

    Returns:
        The metrics, the history and the trainer with the model.

    Raises:
        HardwareError: If the memory does not suffice; with the values to change.
        Stopped: After Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    from shared.finetune.evaluation.scoring import check_references, evaluate_rows
    from shared.finetune.training.batch_size_search import train_in_memory
    from shared.finetune.training.out_of_memory import memory_errors

    if score:
        check_references(config)
    seed = run_seed(config, seed)

    def attempt(config: Config, resume: Path | str | None) -> TrainResult:
        return _train_once(config, checkpoints, seed, resume, callbacks, show)

    result = train_in_memory(attempt, config, Path(checkpoints), resume)
    config, metrics = result.config, result.metrics
    if score:
        with memory_errors(config, "scoring"):
            scores = evaluate_rows(result.trainer.model, result.trainer.processing_class, config, "test", progress)
        metrics |= {name: scores[name] for name in (*score_names(config), "n")} | {"main_metric": main_metric(config)}
        result.notes = scores["answers"]
    return result


def _train_once(
    config: Config,
    checkpoints: str | Path,
    seed: int,
    resume: Path | str | None,
    callbacks: Sequence[TrainerCallback],
    show: bool,
) -> TrainResult:
    """One training from a fresh base, or on from a checkpoint."""
    from transformers import set_seed

    from shared.finetune.models import load_base
    from shared.finetune.training.cost import TrainingCost
    from shared.finetune.training.health import TrainingHealth
    from shared.finetune.training.interrupt import SaveOnSignal
    from shared.finetune.training.out_of_memory import memory_errors
    from shared.finetune.training.progress_bar import watch
    from shared.finetune.training.warnings import warnings_of

    set_seed(seed)
    stop = SaveOnSignal()
    health, cost = TrainingHealth(), TrainingCost()
    with memory_errors(config, "loading"):
        model, tokenizer = load_base(config)
        rows = _rows(config, tokenizer)
        trainer, config = _trainer(config, model, tokenizer, rows, checkpoints, seed, [*callbacks, stop, health, cost])
    warnings = list(warnings_of(config, trainer.model, tokenizer, rows.lengths))
    _warn(warnings if show else [])
    if show:
        watch(trainer)
    health.before(trainer, config, resumed=resume is not None)
    with stop.listening(), cost.measured(trainer):
        _train_to_the_end(trainer, resume, stop)
    found = health.after(trainer, config)
    precision = choose_precision(config)
    metrics = {
        "seed": seed,
        "method": config.peft.method,
        **cost.metrics(trainer),
        "training_precision": precision.value,
        "training_precision_reason": precision.reason,
        **count(trainer.model),
        **rows.metrics(),
        **found,
        "warnings": [*warnings, *found["warnings"]],
    }
    return TrainResult(metrics, trainer.state.log_history, trainer, config=config)


def _warn(warnings: Sequence[str]) -> None:
    """Print warnings once, on standard error."""
    for one in warnings if is_main() else ():
        print(f"warning: {one}", file=sys.stderr, flush=True)


def _train_to_the_end(trainer: Any, resume: Path | str | None, stop: SaveOnSignal) -> None:
    """Train; whatever ends it, loggers and bars are closed, so that what they hold back is written."""
    ended = False
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        ended = True
        stop.check(trainer.args)
    finally:
        if not ended:
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)


@dataclass
class _Rows:
    """The rows of a run, as its trainer takes them.

    Attributes:
        train: Those to train on.
        held: Those of the evaluations; None without.
        lengths: What ``sft.max_length`` leaves of the responses; None for tasks without.
    """

    train: Any
    held: Any = None
    lengths: ResponseLengths | None = None

    def metrics(self) -> dict[str, int]:
        """How many rows there are, and how long the prompts."""
        if self.lengths is None:
            return {"rows": len(self.train)}
        found = self.lengths
        return {
            "rows": found.rows,
            "rows_response_cut_off": found.lost,
            "rows_end_cut_off": found.ended,
            "longest_prompt_tokens": found.longest_prompt,
        }


def _rows(config: Config, tokenizer: Any) -> _Rows:
    """The rows of the configuration.

    Raises:
        DataError: If the longest sequence leaves nothing of any response, in training or in the evaluations.
    """
    from shared.finetune.data import load_rows, to_prompt_completion
    from shared.finetune.data.lengths import check_lengths, response_lengths

    splits = ["train", "eval"] if config.training.eval_strategy != "no" else ["train"]
    rows = [load_rows(config.dataset, split) for split in splits]
    lengths = None
    if config.task_type == "CAUSAL_LM":
        every = config.dataset.train_on == "all"
        rows = [to_prompt_completion(one, config.dataset, tokenizer, every) for one in rows]
        for one in reversed(rows):
            lengths = response_lengths(one, tokenizer, config.sft)
            check_lengths(lengths, config.sft)
    return _Rows(*(*rows, None)[:2], lengths)


def _trainer(
    config: Config,
    model: Any,
    tokenizer: Any,
    rows: _Rows,
    checkpoints: str | Path,
    seed: int,
    callbacks: Sequence[TrainerCallback],
) -> tuple[AnswerLossTrainer | TaskTrainer, Config]:
    """The task's trainer and the configuration, which from here on names the rows' text columns: inference, which does
    not see these rows, has to know whether a text or a pair is asked for."""
    causal = config.task_type == "CAUSAL_LM"
    args = (sft_arguments if causal else task_arguments)(config, checkpoints, seed)
    check_deepspeed(config, args)
    columns = TASKS[config.task_type].columns
    if columns and not config.dataset.text_columns:
        config = config.changed(dataset={"text_columns": columns(rows.train, config)})
    build = build_trainer if causal else build_task_trainer
    return build(config, model, tokenizer, rows.train, rows.held, args, callbacks), config


def count(model: Any) -> dict[str, int]:
    """Trainable and total parameters; 4-bit weights count by what they stand for, not by their packed bytes."""
    from shared.parameters import count as counted

    found = counted(model)
    return {"trainable": found.trainable, "total": found.total}


def run_seed(config: Config, seed: int | None) -> int:
    if seed is not None:
        return seed
    return config.training.seed if "seed" in config.training.model_fields_set else 0
