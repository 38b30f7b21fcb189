"""Answers for one text or for a file of inputs: order kept, bad rows reported, nothing lost."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError, PeftLabsError
from shared.finetune.chats import chat_field
from shared.finetune.data import prompt_of, prompt_of_text
from shared.finetune.schema import DatasetSection
from shared.finetune.tasks import TASKS
from shared.quiet import quiet

if TYPE_CHECKING:
    from shared.finetune.config import Config

INPUTS = (".txt", ".csv", ".jsonl")
OUTPUTS = (".json", ".jsonl")


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        line: Its line in the file, from 1.
        prompt: The prompt made of it, for CAUSAL_LM; None for a bad row.
        error: What is wrong with a bad row.
        row: Its columns, for the other tasks.
    """

    line: int
    prompt: str | None
    error: str | None = None
    row: dict[str, Any] | None = None


def read_inputs(file: Path, dataset: DatasetSection, config: Config | None = None, tokenizer: Any = None) -> list[Item]:
    """The prompts of a file, one per line (.txt), row (.csv, with a header) or object (.jsonl).

    Args:
        file: The file.
        dataset: The ``dataset:`` section, whose template makes a row a prompt.
        config: The configuration of a task other than CAUSAL_LM, which takes the rows' columns as they are.
        tokenizer: For chats: the tokenizer whose template renders them.

    Returns:
        One item per input in the file's order; bad rows say what is wrong with them.

    Raises:
        DataError: If the file is missing or of another kind.
    """
    if file.suffix not in INPUTS:
        raise DataError(f"{file}: input files are {', '.join(INPUTS)}", cure="convert the file")
    if not file.is_file():
        raise DataError(f"there is no file {file}", cure="check --input_file")
    rows = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}[file.suffix](file)
    return [_item(line, row, error, dataset, config, tokenizer) for line, row, error in rows]


Row = tuple[int, dict[str, Any] | None, str | None]


def _lines(file: Path) -> Iterator[tuple[int, str | None, str | None]]:
    """Each line with its number, or what is wrong with its bytes; blank lines are left out."""
    for number, raw in enumerate(file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            yield number, raw.decode("utf-8").rstrip("\r"), None
        except UnicodeDecodeError as error:
            yield number, None, f"not UTF-8 ({error.reason} at byte {error.start})"


def _txt(file: Path) -> Iterator[Row]:
    for number, text, error in _lines(file):
        yield number, None if text is None else {"text": text}, error


def _jsonl(file: Path) -> Iterator[Row]:
    for number, text, error in _lines(file):
        if text is None:
            yield number, None, error
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as fault:
            yield number, None, f"not JSON: {fault}"
            continue
        if isinstance(row, str):
            row = {"text": row}
        yield (number, row, None) if isinstance(row, dict) else (number, None, "not a JSON object")


def _csv(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as opened:
        reader = csv.reader(opened, strict=True)
        header = next(reader, [])
        while True:
            line = reader.line_num + 1
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, None, f"not CSV: {error}"
                continue
            if not values:
                continue
            if len(values) != len(header):
                yield line, None, f"{len(values)} columns instead of {len(header)}"
            elif any("\udc80" <= char <= "\udcff" for value in values for char in value):
                yield line, None, "not UTF-8"
            else:
                yield line, dict(zip(header, values, strict=True)), None


def _item(
    line: int,
    row: dict[str, Any] | None,
    error: str | None,
    dataset: DatasetSection,
    config: Config | None = None,
    tokenizer: Any = None,
) -> Item:
    if row is None:
        return Item(line, None, error)
    try:
        if config is not None:
            return Item(line, None, row=TASKS[config.task_type].input_row(row, config))
        return Item(line, prompt_of(row, dataset, tokenizer))
    except DataError as fault:
        return Item(line, None, f"{fault.message} ({fault.cure})")


def answer_items(model: Any, tokenizer: Any, items: list[Item], settings: Any, progress: Any = None) -> list[dict]:
    """Answers in the inputs' order; a bad row gives its line and error instead of an answer.

    Args:
        model: The tuned model.
        tokenizer: Its tokenizer.
        items: As :func:`read_inputs` gives them.
        settings: The ``evaluation:`` section (lengths, batch size, stop texts).
        progress: Called with the number of finished answers.
    """
    from shared.finetune.evaluate import generate_answers

    prompts = [item.prompt for item in items if item.prompt is not None]
    found = iter(
        generate_answers(
            model, tokenizer, prompts, settings.max_new_tokens, settings.batch_size, settings.stop, progress
        )
    )
    rows = []
    for item in items:
        if item.prompt is None:
            rows.append({"line": item.line, "error": item.error})
            continue
        answer = next(found)
        rows.append({"line": item.line, "prompt": item.prompt, "answer": answer.text.strip(), "ended": answer.ended})
    return rows


def predict_items(model: Any, tokenizer: Any, items: list[Item], config: Config, progress: Any = None) -> list[dict]:
    """As :func:`answer_items`, for the other tasks: classes, tags or texts, with the input's columns.

    Args:
        model: The tuned model.
        tokenizer: Its tokenizer.
        items: As :func:`read_inputs` gives them with a configuration.
        config: The configuration.
        progress: Called with the number of finished answers.
    """
    from datasets import Dataset

    rows = [item.row for item in items if item.row is not None]
    found = iter(TASKS[config.task_type].predict(model, tokenizer, Dataset.from_list(rows), config, progress))
    return [
        {"line": item.line, "error": item.error} if item.row is None else {**item.row, **_answered(item, next(found))}
        for item in items
    ]


def _answered(item: Item, answer: Any) -> dict[str, Any]:
    return {"line": item.line, "answer": answer}


def write_output(file: Path, rows: list[dict]) -> None:
    """Write the answers as .json (one list) or .jsonl (one object per line), whole or not at all."""
    from shared.finetune.files import write_json, write_text

    if file.suffix == ".json":
        write_json(file, rows)
    else:
        write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def main(argv: list[str] | None = None) -> int:
    """``peft-labs inference``: answers of a tuned model.

    Returns:
        0 (bad rows are named on standard error), or 1 after an error that is printed with its cure.
    """
    parser = argparse.ArgumentParser(prog="peft-labs inference", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file the model was trained with")
    parser.add_argument("--model_path", help="an adapter, model or run folder; without it the untuned base answers")
    inputs = parser.add_mutually_exclusive_group(required=True)
    inputs.add_argument("--input_text", help="one text")
    inputs.add_argument("--input_file", type=Path, help=".txt (one per line), .csv or .jsonl")
    parser.add_argument("--output_file", type=Path, help=".json or .jsonl; without it answers are printed")
    parser.add_argument("overrides", nargs="*", help="key=value, for example evaluation.max_new_tokens=100")
    args = parser.parse_args(argv)
    quiet()
    try:
        return _run(args)
    except PeftLabsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _items(args: argparse.Namespace, config: Config, tokenizer: Any) -> list[Item]:
    causal = config.task_type == "CAUSAL_LM"
    if args.input_text is None:
        return read_inputs(args.input_file, config.dataset, None if causal else config, tokenizer)
    if causal:
        return [Item(1, prompt_of_text(args.input_text, config.dataset, tokenizer))]
    return [Item(1, None, row=TASKS[config.task_type].input_row({"text": args.input_text}, config))]


def _run(args: argparse.Namespace) -> int:
    from shared.finetune.config import load_config
    from shared.finetune.models import load_tuned
    from shared.finetune.progress import bar

    if args.output_file and args.output_file.suffix not in OUTPUTS:
        raise DataError(f"{args.output_file}: output files are {', '.join(OUTPUTS)}", cure="name it so")
    config = load_config(args.config, args.overrides)
    causal = config.task_type == "CAUSAL_LM"
    # bad inputs are told before the model is loaded, except for chats: the template stands in the tokenizer
    tuned = load_tuned(config, args.model_path) if causal and chat_field(config.dataset) else None
    items = _items(args, config, tuned[1] if tuned else None)
    for item in items:
        if item.error:
            print(f"{args.input_file}:{item.line}: {item.error}", file=sys.stderr)
    model, tokenizer = tuned or load_tuned(config, args.model_path)
    with bar("answers", total=len(items)) as progress:
        rows = (
            answer_items(model, tokenizer, items, config.evaluation, progress)
            if causal
            else predict_items(model, tokenizer, items, config, progress)
        )
    if args.output_file:
        write_output(args.output_file, rows)
        bad = sum("error" in row for row in rows)
        print(f"{len(rows) - bad} answers, {bad} bad rows, written to {args.output_file}")
    else:
        for row in rows:
            answer = row.get("answer", f"(line {row['line']}: {row.get('error')})")
            print(" ".join(answer) if isinstance(answer, list) else answer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
