"""Train by a configuration: base, data, adapter, Trainer, scores, run folder; resumable after a kill."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import PeftLabsError
from shared.finetune.arguments import check_deepspeed, sft_arguments, task_arguments
from shared.finetune.methods import METHODS
from shared.finetune.processes import is_main, leave_group, rank, say
from shared.finetune.reporting import LOGS
from shared.finetune.storage import kind_of, save_peft, store
from shared.finetune.tasks import TASKS, main_metric, score_names
from shared.quiet import quiet
from shared.run_files import broken_checkpoints

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import TrainerCallback, TrainingArguments
    from trl import SFTConfig

    from shared.finetune.config import Config
    from shared.finetune.interrupt import SaveOnSignal
    from shared.finetune.places import Place
    from shared.finetune.task_trainer import TaskTrainer
    from shared.finetune.trainer import AnswerLossTrainer


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


def peft_config(config: Config, model: Any) -> PeftConfig | None:
    """peft's configuration of the ``peft:`` section for a base; None for methods that are not peft's."""
    make = METHODS[config.peft.method].peft_config
    return make(config.peft, model, config.task_type) if make else None


def build_trainer(
    config: Config,
    model: Any,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    args: SFTConfig,
    callbacks: Sequence[TrainerCallback] = (),
) -> AnswerLossTrainer:
    """The trainer of a configuration.

    Args:
        config: The configuration.
        model: The base as :func:`shared.finetune.models.load_base` gives it; the adapter is put on here, after
            ``set_seed(args.seed)``.
        tokenizer: Its tokenizer.
        train_rows: Rows with ``prompt`` and ``completion``.
        eval_rows: The same, or None.
        args: As :func:`sft_arguments` makes them.
        callbacks: Further callbacks, for example a live plot.
    """
    from shared.finetune.trainer import AnswerLossTrainer

    method = METHODS[config.peft.method]
    model = _prepared(model, args)
    if method.peft_config is None:
        model = method.apply(model, config.peft, config.task_type)
    else:  # TRL puts the adapter on, after it has set the seed
        method.check(model, config.peft, config.task_type)
    trainer = AnswerLossTrainer(
        model=model,
        args=args,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        peft_config=peft_config(config, model),
        callbacks=[*_own_callbacks(config), *callbacks],
    )
    return _scored(trainer, config, tokenizer)


def build_task_trainer(
    config: Config,
    model: Any,
    tokenizer: Any,
    train_rows: Any,
    eval_rows: Any,
    args: TrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
) -> TaskTrainer:
    """As :func:`build_trainer`, for the tasks that transformers' Trainer trains.

    Args:
        config: The configuration.
        model: The base as :func:`shared.finetune.models.load_base` gives it; the method is applied here.
        tokenizer: Its tokenizer.
        train_rows: Raw rows, with the data set's own columns.
        eval_rows: The same, or None.
        args: As :func:`task_arguments` makes them.
        callbacks: Further callbacks.
    """
    from shared.finetune.task_trainer import TaskTrainer
    from shared.finetune.tasks.batches import collator

    task = TASKS[config.task_type]
    train, held = (rows and task.features(rows, tokenizer, config, model) for rows in (train_rows, eval_rows))
    model = METHODS[config.peft.method].apply(_prepared(model, args), config.peft, config.task_type)
    trainer = TaskTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=held,
        processing_class=tokenizer,
        data_collator=collator(tokenizer),
        callbacks=[*_own_callbacks(config), *callbacks],
        head_learning_rate=config.head.learning_rate,
    )
    return _scored(trainer, config, tokenizer)


def _prepared(model: Any, args: TrainingArguments) -> Any:
    how = args.gradient_checkpointing_kwargs
    if getattr(model, "is_quantized", False):
        from peft import prepare_model_for_kbit_training

        return prepare_model_for_kbit_training(model, args.gradient_checkpointing, how)
    if args.gradient_checkpointing and how.get("use_reentrant"):
        model.enable_input_require_grads()  # else the first block's adapters get no gradients
    return model


def _own_callbacks(config: Config) -> list[TrainerCallback]:
    """What the method has to do between the steps, and early stopping where it is asked for."""
    from shared.finetune.callbacks import EarlyStopping

    make, stopping = METHODS[config.peft.method].callback, config.early_stopping
    found = [make(config.peft)] if make else []
    return found + ([EarlyStopping(stopping.patience, stopping.threshold)] if stopping.patience else [])


def _scored(trainer: Any, config: Config, tokenizer: Any) -> Any:
    """Let a trainer measure the scores at each evaluation, where the best checkpoint is chosen by one of them."""
    metric = (config.training.metric_for_best_model or "loss").removeprefix("eval_")
    if metric in score_names(config):
        from shared.finetune.evaluate import evaluate_rows

        def scores() -> dict[str, float]:
            found = evaluate_rows(trainer.model, tokenizer, config, "eval")
            return {name: found[name] for name in score_names(config)}

        trainer.scorer = scores
    return trainer


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
    from shared.finetune.batch_search import train_in_memory
    from shared.finetune.evaluate import check_references, evaluate_rows
    from shared.finetune.memory_faults import memory_errors

    if score:
        check_references(config)
    seed = _seed(config, seed)

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

    from shared.finetune.interrupt import SaveOnSignal
    from shared.finetune.memory_faults import memory_errors
    from shared.finetune.models import load_base
    from shared.finetune.training_bar import watch

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


def save(result: TrainResult, config: Config, out: Path) -> None:
    """Write a run's files into a (partial) folder: adapter/ or model/, config.yaml, metrics.json, history.json.

    Args:
        result: What :func:`run` returned.
        config: Its configuration.
        out: The folder to write into.
    """
    from shared.finetune.files import write_json, write_text

    tokenizer = result.trainer.processing_class
    model = result.trainer.accelerator.unwrap_model(result.trainer.model)
    config = result.config or config
    weights = out / kind_of(config)
    store(model, weights, config)
    tokenizer.save_pretrained(weights)
    drop_gguf_copy(weights)
    write_text(out / "config.yaml", config.to_yaml())
    write_json(out / "metrics.json", result.metrics)
    write_json(out / "history.json", result.history)
    if result.batches:
        write_json(out / "batches.json", result.batches)
    logs = Path(result.trainer.args.output_dir) / LOGS
    if logs.is_dir():
        shutil.copytree(logs, out / LOGS)
    if result.notes:
        write_text(out / "answers.jsonl", "".join(_json_line(row) for row in result.notes))


def save_weights(model: Any, folder: Path) -> None:
    """Save an adapter of peft's or a whole model as safetensors, offline; :func:`shared.finetune.storage.store` saves
    what any method trained."""
    if hasattr(model, "peft_config"):
        save_peft(model, folder)
    else:
        model.save_pretrained(folder, safe_serialization=True)


def drop_gguf_copy(folder: Path) -> None:
    """Remove the ``tokenizer.model`` that a tokenizer read from a GGUF file leaves: it is the whole GGUF again."""
    file = folder / "tokenizer.model"
    if file.is_file() and file.open("rb").read(4) == b"GGUF":
        file.unlink()


def _seed(config: Config, seed: int | None) -> int:
    if seed is not None:
        return seed
    return config.training.seed if "seed" in config.training.model_fields_set else 0


def _json_line(row: dict[str, Any]) -> str:
    import json

    return json.dumps(row, ensure_ascii=False) + "\n"


# -- the command line -------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """``peft-labs train``: train by a configuration and write the run folder.

    Returns:
        0; 1 after an error that is printed with its cure; 130 after Ctrl-C, with how to resume.
    """
    parser = argparse.ArgumentParser(prog="peft-labs train", description="Train by a YAML configuration.")
    parser.add_argument("--config", required=True, help="the YAML file")
    parser.add_argument("--resume", action="store_true", help="go on from the last whole checkpoint")
    parser.add_argument("--seed", type=int, help="seed; default training.seed, else 0")
    parser.add_argument("--run_name", default="cli", help="a lab's run folder: its name (default: cli)")
    parser.add_argument("--no_score", action="store_true", help="don't answer the test split at the end")
    parser.add_argument("overrides", nargs="*", help="key=value, for example training.max_steps=10")
    args = parser.parse_args(argv)
    quiet()
    try:
        return _train(args, sys.argv[1:] if argv is None else argv)
    except PeftLabsError as error:
        print(f"error: {error}" if is_main() else f"error in process {rank()}: {error}", file=sys.stderr)
        return 1
    finally:
        leave_group()


def _train(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    from datasets.utils.logging import disable_progress_bar

    from shared.finetune.config import load_config
    from shared.finetune.interrupt import report
    from shared.finetune.places import place_for
    from shared.finetune.precision import choose_precision
    from shared.finetune.reporting import announce

    disable_progress_bar()  # tokenising shows five bars otherwise; training has its own
    config = load_config(args.config, args.overrides)
    seed = _seed(config, args.seed)
    place = place_for(args.config, config, args.run_name)
    key = place.key(config, seed)
    precision = choose_precision(config)
    say(f"{config.task_name}: {config.peft.method} on {config.model.name_or_path}, seed {seed}")
    say(f"precision {precision.value}: {precision.reason}")
    resume = _start(place, key, args.resume)
    announce(config, place.checkpoints(key))
    try:
        _train_and_write(args, config, seed, place, key, resume)
    except KeyboardInterrupt as error:
        return report(error, arguments, place.last_checkpoint(key))
    return 0


def _start(place: Place, key: str, resume: bool) -> Path | None:
    """The checkpoint to go on from; what is in the way of the new training is removed by one process."""
    if not resume:
        if is_main():
            place.clear_checkpoints(key)
        return None
    folder = place.checkpoints(key)
    last = place.last_checkpoint(key)
    for broken in broken_checkpoints(folder) if is_main() else []:
        say(f"{broken.name} was not written to its end: left out")
        shutil.rmtree(broken, ignore_errors=True)
    say(f"resuming from {last.name}" if last else "no whole checkpoint to resume from: starting anew")
    return last


def _train_and_write(
    args: argparse.Namespace, config: Config, seed: int, place: Place, key: str, resume: Path | None
) -> None:
    from shared.finetune.progress import bar

    with bar("answers", total=config.evaluation.rows) as progress:
        result = run(
            config, place.checkpoints(key), seed, resume, score=not args.no_score, progress=progress, show=True
        )
    if is_main():
        result.path = place.write(lambda out: save(result, config, out), [seed])
        place.clear_checkpoints(key)
        say(_summary(result))


def _summary(result: TrainResult) -> str:
    found = result.metrics
    share = found["trainable"] / found["total"]
    text = (
        f"{found['steps']} steps in {found['seconds']:.0f} s; {found['trainable']:,} of {found['total']:,} "
        f"parameters trained ({share:.2%})"
    )
    if "n" in found:
        from shared.finetune.evaluate import scores_text

        text += f"\n{scores_text(found)}"
    return f"{text}\nwritten to {result.path}"


if __name__ == "__main__":
    raise SystemExit(main())
