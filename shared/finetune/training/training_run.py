"""One training run: base, rows, trainer, training, scores; resumable from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.finetune.tasks import TASKS, main_metric, score_names
from shared.finetune.training.arguments import check_deepspeed, sft_arguments, task_arguments
from shared.finetune.training.trainers import build_task_trainer, build_trainer

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from shared.finetune.config import Config
    from shared.finetune.training.interrupt import SaveOnSignal
    from shared.finetune.training.language_model_trainer import AnswerLossTrainer
    from shared.finetune.training.task_trainer import TaskTrainer


@dataclass
class TrainResult:
    """What a training run brought.

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
        resume: A checkpoint folder to go on from.
        callbacks: Further callbacks for the Trainer.
        score: Whether answers are generated and scored at the end.
        progress: Called with the number of scored answers.
        show: Whether the progress is shown as on the command line.

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
    from shared.finetune.training.interrupt import SaveOnSignal
    from shared.finetune.training.out_of_memory import memory_errors
    from shared.finetune.training.progress_bar import watch

    set_seed(seed)
    stop = SaveOnSignal()
    with memory_errors(config, "loading"):
        model, tokenizer = load_base(config)
        trainer, config = _trainer(config, model, tokenizer, checkpoints, seed, [*callbacks, stop])
    if show:
        watch(trainer)
    start = time.perf_counter()
    with stop.listening():
        _train_to_the_end(trainer, resume, stop)
    metrics = {
        "seed": seed,
        "method": config.peft.method,
        "seconds": round(time.perf_counter() - start, 2),
        "steps": trainer.state.global_step,
        **count(trainer.model),
    }
    return TrainResult(metrics, trainer.state.log_history, trainer, config=config)


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


def _trainer(
    config: Config,
    model: Any,
    tokenizer: Any,
    checkpoints: str | Path,
    seed: int,
    callbacks: Sequence[TrainerCallback],
) -> tuple[AnswerLossTrainer | TaskTrainer, Config]:
    """The task's trainer with the rows of the configuration, which from here on names their text columns: inference,
    which does not see these rows, has to know whether a text or a pair is asked for."""
    from shared.finetune.data import load_rows, to_prompt_completion

    causal = config.task_type == "CAUSAL_LM"
    args = (sft_arguments if causal else task_arguments)(config, checkpoints, seed)
    check_deepspeed(config, args)
    splits = ["train", "eval"] if args.eval_strategy != "no" else ["train"]
    rows = [load_rows(config.dataset, split) for split in splits]
    if causal:
        every = config.dataset.train_on == "all"
        rows = [to_prompt_completion(one, config.dataset, tokenizer, every) for one in rows]
    train_rows, eval_rows = (*rows, None)[:2]
    columns = TASKS[config.task_type].columns
    if columns and not config.dataset.text_columns:
        config = config.changed(dataset={"text_columns": columns(train_rows, config)})
    build = build_trainer if causal else build_task_trainer
    return build(config, model, tokenizer, train_rows, eval_rows, args, callbacks), config


def count(model: Any) -> dict[str, int]:
    """Trainable and total parameters; 4-bit weights count by what they stand for, not by their packed bytes."""
    from shared.parameters import count as counted

    found = counted(model)
    return {"trainable": found.trainable, "total": found.total}


def run_seed(config: Config, seed: int | None) -> int:
    if seed is not None:
        return seed
    return config.training.seed if "seed" in config.training.model_fields_set else 0
