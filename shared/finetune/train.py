"""Train by a configuration: base, data, adapter, Trainer, scores, run folder; resumable after a kill."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import PeftLabsError
from shared.finetune.methods import METHODS
from shared.finetune.storage import kind_of, save_peft, store
from shared.finetune.tasks import TASKS, main_metric, score_names
from shared.quiet import quiet

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import TrainerCallback, TrainingArguments
    from trl import SFTConfig

    from shared.finetune.config import Config
    from shared.finetune.task_trainer import TaskTrainer
    from shared.finetune.trainer import AnswerLossTrainer

# Where SFTConfig's defaults differ from TrainingArguments', `training:` means TrainingArguments'
OWN_DEFAULTS = ("learning_rate", "logging_steps", "gradient_checkpointing")


@dataclass
class TrainResult:
    """What a training run brought.

    Attributes:
        metrics: Scores, seconds, counts of parameters; what ``metrics.json`` holds.
        history: The Trainer's log: one dict per logged step.
        trainer: The trainer with the trained model.
        path: Where it was written; None when nothing was.
    """

    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    trainer: AnswerLossTrainer | TaskTrainer
    path: Path | None = None
    notes: list[str] = field(default_factory=list)


def sft_arguments(config: Config, output_dir: str | Path, seed: int = 0) -> SFTConfig:
    """The Trainer's arguments of a configuration.

    Args:
        config: Its ``training:`` and ``sft:`` sections.
        output_dir: Where checkpoints go.
        seed: Seed of weights, shuffling and dropout.

    Returns:
        TRL's SFTConfig. What the configuration leaves out has TrainingArguments' default, except ``report_to`` (none)
        and the precision, which :mod:`shared.finetune.precision` chooses.
    """
    from trl import SFTConfig

    _no_telemetry()
    own = {name: getattr(config.training, name) for name in OWN_DEFAULTS}
    return SFTConfig(**{**own, **_training_values(config, output_dir, seed)}, **config.sft.model_dump())


def task_arguments(config: Config, output_dir: str | Path, seed: int = 0) -> TrainingArguments:
    """As :func:`sft_arguments`, for the tasks that transformers' Trainer trains."""
    from transformers import TrainingArguments

    values = _training_values(config, output_dir, seed)
    # the rows are tokenised already, and peft's wrappers hide from the Trainer what the labels are called
    return TrainingArguments(
        **{
            **values,
            "remove_unused_columns": False,
            "label_names": list(TASKS[config.task_type].label_names),
        }
    )


def _training_values(config: Config, output_dir: str | Path, seed: int) -> dict[str, Any]:
    from shared.finetune.precision import choose_precision

    values = config.training.model_dump(exclude_unset=True)
    precision = choose_precision(config).value
    cpu = _on_cpu(config)
    return values | {
        "output_dir": str(output_dir),
        "seed": seed,
        "data_seed": values.get("data_seed"),
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": cpu,
        "report_to": values.get("report_to") or "none",
        "dataloader_pin_memory": values.get("dataloader_pin_memory", not cpu),
    }


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
    return AnswerLossTrainer(
        model=model,
        args=args,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
        peft_config=peft_config(config, model),
        callbacks=[*_own_callbacks(config), *callbacks],
    )


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
    return TaskTrainer(
        model=model,
        args=args,
        train_dataset=train,
        eval_dataset=held,
        processing_class=tokenizer,
        data_collator=collator(tokenizer),
        callbacks=[*_own_callbacks(config), *callbacks],
        head_learning_rate=config.head.learning_rate,
    )


def _prepared(model: Any, args: TrainingArguments) -> Any:
    if not getattr(model, "is_quantized", False):
        return model
    from peft import prepare_model_for_kbit_training

    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=args.gradient_checkpointing)


def _own_callbacks(config: Config) -> list[TrainerCallback]:
    """What the method has to do between the steps."""
    make = METHODS[config.peft.method].callback
    return [make(config.peft)] if make else []


def run(
    config: Config,
    checkpoints: str | Path,
    seed: int | None = None,
    resume: Path | str | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    score: bool = True,
    progress: Any = None,
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

    Returns:
        The metrics, the history and the trainer with the model.
    """
    from transformers import set_seed

    from shared.finetune.evaluate import check_references, evaluate_rows
    from shared.finetune.models import load_base

    if score:
        check_references(config)
    seed = _seed(config, seed)
    set_seed(seed)
    model, tokenizer = load_base(config)
    trainer = _trainer(config, model, tokenizer, checkpoints, seed, callbacks)
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    metrics = {
        "seed": seed,
        "method": config.peft.method,
        "seconds": round(time.perf_counter() - start, 2),
        "steps": trainer.state.global_step,
        **count(trainer.model),
    }
    result = TrainResult(metrics, trainer.state.log_history, trainer)
    if score and trainer.accelerator.is_main_process:
        scores = evaluate_rows(trainer.model, tokenizer, config, "test", progress)
        metrics |= {name: scores[name] for name in (*score_names(config), "n")} | {"main_metric": main_metric(config)}
        result.notes = scores["answers"]
    return result


def _trainer(
    config: Config,
    model: Any,
    tokenizer: Any,
    checkpoints: str | Path,
    seed: int,
    callbacks: Sequence[TrainerCallback],
) -> AnswerLossTrainer | TaskTrainer:
    """The task's trainer with the rows of the configuration."""
    from shared.finetune.data import load_rows, to_prompt_completion

    causal = config.task_type == "CAUSAL_LM"
    args = (sft_arguments if causal else task_arguments)(config, checkpoints, seed)
    splits = ["train", "eval"] if args.eval_strategy != "no" else ["train"]
    rows = [load_rows(config.dataset, split) for split in splits]
    if causal:
        every = config.dataset.train_on == "all"
        rows = [to_prompt_completion(one, config.dataset, tokenizer, every) for one in rows]
    train_rows, eval_rows = (*rows, None)[:2]
    build = build_trainer if causal else build_task_trainer
    return build(config, model, tokenizer, train_rows, eval_rows, args, callbacks)


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
    weights = out / kind_of(config)
    store(model, weights, config)
    tokenizer.save_pretrained(weights)
    drop_gguf_copy(weights)
    write_text(out / "config.yaml", config.to_yaml())
    write_json(out / "metrics.json", result.metrics)
    write_json(out / "history.json", result.history)
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


def _on_cpu(config: Config) -> bool:
    from shared.machine import choose_device

    return config.training.use_cpu or choose_device().value == "cpu"


def _no_telemetry() -> None:
    """TRL reports each training to the Hub's telemetry; a student's run is nobody's business."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


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
        return _train(args)
    except PeftLabsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        return 130


def _train(args: argparse.Namespace) -> int:
    from datasets.utils.logging import disable_progress_bar

    from shared.finetune.config import load_config
    from shared.finetune.places import place_for
    from shared.finetune.precision import choose_precision
    from shared.finetune.progress import bar

    disable_progress_bar()  # tokenising shows five bars otherwise; training has its own
    config = load_config(args.config, args.overrides)
    seed = _seed(config, args.seed)
    place = place_for(args.config, config, args.run_name)
    key = place.key(config, seed)
    resume = place.last_checkpoint(key) if args.resume else None
    if not args.resume:
        place.clear_checkpoints(key)
    precision = choose_precision(config)
    print(f"{config.task_name}: {config.peft.method} on {config.model.name_or_path}, seed {seed}")
    print(f"precision {precision.value}: {precision.reason}")
    if args.resume:
        print(f"resuming from {resume.name}" if resume else "no whole checkpoint to resume from: starting anew")
    with bar("answers", total=config.evaluation.rows) as progress:
        result = run(config, place.checkpoints(key), seed, resume, score=not args.no_score, progress=progress)
    if result.trainer.accelerator.is_main_process:
        result.path = place.write(lambda out: save(result, config, out), [seed])
        place.clear_checkpoints(key)
        print(_summary(result))
    return 0


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
