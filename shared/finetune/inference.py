"""Answers for one text or for a file of inputs: in the inputs' order, with invalid rows reported."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.common.exit_codes import exit_code
from shared.finetune.data.chats import chat_field
from shared.finetune.prediction.inputs import Item, read_inputs, text_item
from shared.finetune.prediction.output_file import OutputFile, check_suffix, digest_of
from shared.finetune.tasks import TASKS

if TYPE_CHECKING:
    from datasets import Dataset

    from shared.finetune.config import Config

# This many batches are read, sorted by length and answered together; a kill loses at most one such window
WINDOW = 8  # [batches]
SHOWN = 20  # invalid rows printed on standard error; the output contains all of them


def answer_items(
    model: Any, tokenizer: Any, items: Sequence[Item], config: Config, progress: Any = None
) -> list[dict[str, Any]]:
    """Answers in the inputs' order; an invalid row gives its line and error instead of an answer.

    Args:
        model: The tuned model.
        tokenizer: Its tokenizer.
        items: As :func:`shared.finetune.prediction.inputs.read_inputs` gives them.
        config: The configuration.
        progress: Called with the number of finished answers.

    Returns:
        One dict per item: the input's columns, ``line`` and ``answer``; for CAUSAL_LM ``prompt`` and ``ended`` (whether
        the model ended it with its end-of-text token), for classes ``probabilities``. For an invalid row: ``line`` and
        ``error``. Columns of the input with one of these names get the prefix ``input_``.
    """
    good = [item for item in items if item.error is None]
    causal = config.task_type == "CAUSAL_LM"
    found = iter((_generated if causal else _predicted)(model, tokenizer, good, config, progress) if good else ())
    return [{"line": item.line, "error": item.error} if item.error else next(found) for item in items]


def _generated(model: Any, tokenizer: Any, items: Sequence[Item], config: Config, progress: Any) -> list[dict]:
    from shared.finetune.evaluation import generate_answers

    prompts, settings = [item.prompt for item in items], config.evaluation
    found = generate_answers(
        model, tokenizer, prompts, settings.max_new_tokens, settings.batch_size, settings.stop, progress
    )
    return [
        _beside(item, {"prompt": item.prompt, "answer": one.text.strip(), "ended": one.ended})
        for item, one in zip(items, found, strict=True)
    ]


def _predicted(model: Any, tokenizer: Any, items: Sequence[Item], config: Config, progress: Any) -> list[dict]:
    task, rows = TASKS[config.task_type], _table([item.needed for item in items])
    if task.answers is not None:
        found = task.answers(model, tokenizer, rows, config, progress)
    else:
        found = [{"answer": one} for one in task.predict(model, tokenizer, rows, config, progress)]
    return [_beside(item, one) for item, one in zip(items, found, strict=True)]


def _beside(item: Item, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer with the columns of its input."""
    own = {"line": item.line, **answer}
    return {(f"input_{name}" if name in own else name): value for name, value in item.row.items()} | own


def _table(rows: list[dict[str, Any]]) -> Dataset:
    """Inputs as a Dataset, which has one type per column; mixed columns (7 and "seven") become text."""
    from datasets import Dataset

    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    mixed = {name for name, types in kinds.items() if len(types - {type(None)}) > 1}
    return Dataset.from_list(
        [{name: str(value) if name in mixed and value is not None else value for name, value in row.items()}
         for row in rows]
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """``peft-labs inference``: answers of a tuned model.

    Returns:
        0 (invalid rows are printed on standard error); 1 after an error, which is printed with its fix; 130 after
        Ctrl-C, with the command that resumes.
    """
    parser = argparse.ArgumentParser(prog="peft-labs inference", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file the model was trained with")
    parser.add_argument("--model_path", help="an adapter, model or run folder; without it the untuned base model")
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument("--input_text", help="one text")
    inputs.add_argument("--input_file", type=Path, help=".txt (one per line), .csv or .jsonl")
    parser.add_argument("--output_file", type=Path, help=".json or .jsonl; without it answers are printed")
    parser.add_argument("--resume", action="store_true", help="keep the answers of an interrupted run")
    parser.add_argument("overrides", nargs="*", help="key=value, for example evaluation.max_new_tokens=100")
    args = parser.parse_args(argv)
    try:
        return exit_code(lambda: _run(args))
    except KeyboardInterrupt:
        print(f"stopped{_how_to_resume(args, sys.argv[1:] if argv is None else argv)}", file=sys.stderr)
        return 130


def _how_to_resume(args: argparse.Namespace, arguments: Sequence[str]) -> str:
    if not (args.input_file and args.output_file):
        return ""
    again = [*arguments, *([] if args.resume else ["--resume"])]
    return f"; resume with: peft-labs inference {shlex.join(again)}"


def _run(args: argparse.Namespace) -> None:
    from shared.finetune.config import load_config
    from shared.finetune.models import find_weights, load_tuned

    if args.output_file:
        check_suffix(args.output_file)
    config = load_config(args.config, args.overrides)
    weights = find_weights(Path(args.model_path)) if args.model_path else None
    config = _with_columns(config, weights)
    # invalid inputs are reported before the model is loaded, except for chats: the tokenizer holds their template
    tuned = load_tuned(config, args.model_path) if chat_field(config.dataset) else None
    items, number = _items(args, config, tuned[1] if tuned else None)
    file = _output_file(args, config, weights)
    model, tokenizer = tuned or load_tuned(config, args.model_path)
    start = time.perf_counter()
    _answer_all(model, tokenizer, items, number, config, file)
    if file:
        good, bad = file.finish()
        seconds = time.perf_counter() - start
        print(f"{good} answers, {bad} invalid rows, in {seconds:.1f} s, written to {args.output_file}")


def _with_columns(config: Config, weights: Path | None) -> Config:
    """The configuration with the text columns that the model was trained on, if it does not name any."""
    from shared.finetune.models.storage import describe

    known = describe(weights).get("text_columns") if weights else None
    return config if config.dataset.text_columns or not known else config.changed(dataset={"text_columns": known})


def _items(args: argparse.Namespace, config: Config, tokenizer: Any) -> tuple[Iterable[Item], int]:
    """The inputs and their number; the invalid rows of a file are printed.

    Raises:
        DataError: If no row can be answered.
    """
    if args.input_text is not None:
        return [text_item(args.input_text, config, tokenizer)], 1
    number, problems = 0, 0
    for item in read_inputs(args.input_file, config, tokenizer):
        number += 1
        problems += item.error is not None
        if item.error and problems <= SHOWN:
            print(f"{args.input_file}:{item.line}: {item.error}", file=sys.stderr)
    if problems > SHOWN:
        print(f"… and {problems - SHOWN} more invalid rows; the output lists all of them", file=sys.stderr)
    if number == problems:
        raise DataError(f"{args.input_file}: none of the {number} rows can be answered", fix="correct the file")
    return read_inputs(args.input_file, config, tokenizer), number


def _output_file(args: argparse.Namespace, config: Config, weights: Path | None) -> OutputFile | None:
    if not args.output_file:
        return None
    inputs = args.input_file or args.input_text
    file = OutputFile(args.output_file, digest_of(inputs, config, weights), args.resume)
    if args.resume:
        print(f"{file.done} answers kept" if file.done else "no interrupted run to resume: starting from the beginning")
    elif file.discarded:
        print(f"{file.discarded} answers of an interrupted run are deleted; --resume keeps them")
    return file


def _answer_all(
    model: Any, tokenizer: Any, items: Iterable[Item], number: int, config: Config, file: OutputFile | None
) -> None:
    """Answer the inputs window by window; write the answers to the file, or print them."""
    from shared.finetune.common.progress import bar

    with bar("answers", total=number) as progress:
        rest = _skip(iter(items), file.done if file else 0, progress)
        for window in iter(lambda: list(islice(rest, WINDOW * config.evaluation.batch_size)), []):
            rows = answer_items(model, tokenizer, window, config, progress)
            if file:
                file.append(rows)
            else:
                print("\n".join(map(_shown, rows)))


def _skip(items: Iterator[Item], done: int, progress: Any) -> Iterator[Item]:
    for _ in range(done):
        next(items)
    progress(done)
    return items


def _shown(row: dict[str, Any]) -> str:
    """An answer as it is printed: a class with its probability, tags in one line."""
    if "error" in row and "answer" not in row:
        return f"(line {row['line']}: {row['error']})"
    answer, chances = row["answer"], row.get("probabilities")
    if isinstance(chances, dict):
        return f"{answer} ({chances[answer]:.1%})"
    return " ".join(answer) if isinstance(answer, list) else str(answer)


if __name__ == "__main__":
    raise SystemExit(main())
