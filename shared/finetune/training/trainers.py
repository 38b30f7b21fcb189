"""The trainer of a configuration: method applied, rows as features, callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.finetune.methods import METHODS
from shared.finetune.tasks import TASKS, score_names

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import TrainerCallback, TrainingArguments
    from trl import SFTConfig

    from shared.finetune.config import Config
    from shared.finetune.training.language_model_trainer import AnswerLossTrainer
    from shared.finetune.training.task_trainer import TaskTrainer


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
        model: The base as :func:`shared.finetune.models.loading.load_base` gives it; the adapter is put on here, after
            ``set_seed(args.seed)``.
        tokenizer: Its tokenizer.
        train_rows: Rows with ``prompt`` and ``completion``.
        eval_rows: The same, or None.
        args: As :func:`sft_arguments` makes them.
        callbacks: Further callbacks, for example a live plot.
    """
    from shared.finetune.training.language_model_trainer import AnswerLossTrainer

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
        model: The base as :func:`shared.finetune.models.loading.load_base` gives it; the method is applied here.
        tokenizer: Its tokenizer.
        train_rows: Raw rows, with the data set's own columns.
        eval_rows: The same, or None.
        args: As :func:`task_arguments` makes them.
        callbacks: Further callbacks.
    """
    from shared.finetune.tasks.batches import collator
    from shared.finetune.training.task_trainer import TaskTrainer

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
    from shared.finetune.training.callbacks import EarlyStopping

    make, stopping = METHODS[config.peft.method].callback, config.early_stopping
    found = [make(config.peft)] if make else []
    return found + ([EarlyStopping(stopping.patience, stopping.threshold)] if stopping.patience else [])


def _scored(trainer: Any, config: Config, tokenizer: Any) -> Any:
    """Let a trainer measure the scores at each evaluation, where the best checkpoint is chosen by one of them."""
    metric = (config.training.metric_for_best_model or "loss").removeprefix("eval_")
    if metric in score_names(config):
        from shared.finetune.evaluation import evaluate_rows

        def scores() -> dict[str, float]:
            found = evaluate_rows(trainer.model, tokenizer, config, "eval")
            return {name: found[name] for name in score_names(config)}

        trainer.scorer = scores
    return trainer
