"""Rows from the Hub, from local files, from the tiny world or from the cache; and rows as prompt and completion.

A chat's messages are rendered in :mod:`shared.finetune.chats`.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import DataError
from shared.finetune.chats import chat_field, chat_pairs, chat_prompt, last_answer, messages_of, plain
from shared.finetune.faults import did_you_mean
from shared.finetune.schema import DatasetSection
from shared.finetune.slices import load_part

if TYPE_CHECKING:
    from datasets import Dataset

SUFFIXES = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
DRAW_SEED = 0  # which rows max_train_rows keeps must not depend on the run's seed, or seeds would differ in data too


def load_rows(dataset: DatasetSection, split: str) -> Dataset:
    """The raw rows of one split, with the data set's own columns.

    Args:
        dataset: The ``dataset:`` section.
        split: ``"train"``, ``"eval"`` or ``"test"``; mapped to the section's split names.

    Returns:
        The rows; ``max_train_rows`` / ``max_eval_rows`` of them, drawn with a fixed seed, where that is set.

    Raises:
        DataError: If the data set or the split is not there; the message says what is.
    """
    if split not in ("train", "eval", "test"):
        raise DataError(f"there is no split {split!r}", cure="ask for 'train', 'eval' or 'test'")
    name = getattr(dataset, f"{split}_split")
    rows = _load(dataset, split, name)
    limit = {"train": dataset.max_train_rows, "eval": dataset.max_eval_rows}.get(split)
    if limit is not None and limit < len(rows):
        rows = rows.shuffle(seed=DRAW_SEED).select(range(limit))
    if len(rows) == 0:
        raise DataError(f"{dataset.name}: the split {name!r} has no rows", cure="choose another split or file")
    return rows


def to_prompt_completion(
    rows: Dataset, dataset: DatasetSection, tokenizer: Any = None, every_turn: bool = False
) -> Dataset:
    """Rows as ``prompt`` and ``completion``, the form in which SFTTrainer puts the loss on the completion only.

    TRL appends the tokenizer's end-of-text token to each completion, so the model learns to stop.

    Args:
        rows: Rows as :func:`load_rows` gives them.
        dataset: The ``dataset:`` section.
        tokenizer: The tokenizer, whose chat template renders a column of messages; other rows don't need it.
        every_turn: Whether each of a chat's answers is an example, instead of the last.

    Returns:
        A data set with the two text columns ``prompt`` and ``completion``.

    Raises:
        DataError: If a column that the template names is not there, or a row can't be split.
    """
    check_columns(rows.column_names, dataset)
    pairs = [pair for number, row in enumerate(rows, 1) for pair in _pairs(row, dataset, number, tokenizer, every_turn)]
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [p for p, _ in pairs], "completion": [c for _, c in pairs]})


def split_row(row: Mapping[str, Any], dataset: DatasetSection, tokenizer: Any = None) -> tuple[str, str]:
    """One row as (prompt, completion); see :func:`to_prompt_completion`."""
    check_columns(list(row), dataset)
    return _pairs(row, dataset, None, tokenizer)[-1]


def prompt_of(row: Mapping[str, Any], dataset: DatasetSection, tokenizer: Any = None) -> str:
    """The prompt of a row that may lack the response, as inference gets them.

    Args:
        row: The input's columns. A row with only ``text`` goes through ``input_template`` where that is set.
        dataset: The ``dataset:`` section.
        tokenizer: As in :func:`to_prompt_completion`.

    Raises:
        DataError: If a column that the prompt needs is missing.
    """
    if set(row) == {"text"}:
        return prompt_of_text(str(row["text"]), dataset, tokenizer)
    if field := chat_field(dataset):
        _check_names([field], list(row), "the input")
        return chat_prompt(messages_of(row, dataset, "the input"), tokenizer, "the input")
    if dataset.prompt_template:
        before, _ = around_response(dataset)
        _check_names(placeholders(before), list(row), "the input")
        return before.format_map(_cut(row, dataset))
    if dataset.text_field in row:
        return prompt_of_text(str(row[dataset.text_field]), dataset)
    raise DataError(
        f"the input has no column {dataset.text_field!r}; it has {', '.join(map(str, row))}",
        cure=f"name the column {dataset.text_field!r}",
    )


def prompt_columns(dataset: DatasetSection) -> list[str]:
    """The columns that a prompt is made of."""
    if dataset.prompt_template:
        return placeholders(around_response(dataset)[0])
    return [chat_field(dataset) or dataset.text_field]


def prompt_of_text(text: str, dataset: DatasetSection, tokenizer: Any = None) -> str:
    """A bare text as a prompt: through ``input_template``, into the template's only placeholder, or as a user's message
    of a chat (of which ``input_template`` then makes the content)."""
    if chat_field(dataset):
        content = (dataset.input_template or "{text}").replace("{text}", text)
        return chat_prompt([{"role": "user", "content": content}], tokenizer, "the input")
    marker = dataset.response_marker
    if marker and marker in text:
        return text[: text.rindex(marker) + len(marker)]
    if dataset.input_template:
        return dataset.input_template.replace("{text}", text)
    if marker:
        raise DataError(
            f"the input does not hold the response marker {marker!r}",
            cure=f'end it with the marker, or set dataset.input_template, for example "### Human: {{text}}{marker}"',
        )
    before, _ = around_response(dataset)
    names = list(dict.fromkeys(placeholders(before)))
    if len(names) == 1:
        return before.format_map(_cut({names[0]: text}, dataset))
    raise DataError(
        f"the prompt needs the columns {', '.join(names)}, the input is one text",
        cure="give a jsonl or csv file with these columns, or set dataset.input_template",
    )


def response_of(row: Mapping[str, Any], dataset: DatasetSection) -> str:
    """The reference answer of a row, stripped."""
    check_columns(list(row), dataset)
    if chat_field(dataset):
        return last_answer(messages_of(row, dataset, dataset.name), dataset.name).strip()
    return split_row(row, dataset)[1].strip()


def reference_of(completion: str, dataset: DatasetSection, tokenizer: Any) -> str:
    """A completion as a generated answer would look if it were right."""
    return plain(completion, tokenizer) if chat_field(dataset) else completion.strip()


# -- where rows come from ---------------------------------------------------------------------------------------------


def _load(dataset: DatasetSection, role: str, split: str) -> Dataset:
    name = dataset.name
    if name.startswith("tiny:"):
        from shared.tiny import load_task

        task, level = name.removeprefix("tiny:"), dataset.config or "normal"
        return load_part(split, lambda whole: load_task(task, whole, difficulty=level))
    if name.startswith("fetched:"):
        from shared.fetch import fetched

        folder = fetched(name.removeprefix("fetched:"))
        return load_part(split, lambda whole: _folder(folder, whole))
    path = Path(name).expanduser()
    if path.is_dir():
        return load_part(split, lambda whole: _folder(path, whole))
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise DataError(
                f"there is no file {name}",
                cure="check dataset.name; paths are relative to the folder the command runs in",
            )
        return _file(path, role, dataset)
    return _hub(dataset, split)


def _read(path: Path) -> Dataset:
    from datasets import Dataset, load_dataset

    if path.suffix in (".jsonl", ".json"):
        return Dataset.from_list(read_jsonl(path))
    try:
        return load_dataset(SUFFIXES[path.suffix], data_files=str(path), split="train")
    except Exception as error:  # datasets wraps the readers' errors in several classes
        raise DataError(f"{path} can't be read: {error.__cause__ or error}", cure="check the file") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a .jsonl file (or of a .json file with one list).

    Raises:
        DataError: Naming the line that is no JSON object.
    """
    import json

    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json" and text.lstrip().startswith("["):
        return json.loads(text)
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not JSON ({error})", cure="mend or remove the line") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object", cure='write {"column": "value", …}')
        rows.append(row)
    return rows


def _folder(folder: Path, split: str) -> Dataset:
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
    if split not in found:
        raise DataError(
            f"{folder} has no split {split!r}; it has: {', '.join(found) or 'no data files'}",
            cure=f"add {split}.jsonl, or set the split names in dataset:",
        )
    return _read(found[split])


def _file(path: Path, role: str, dataset: DatasetSection) -> Dataset:
    """One file: the last rows of a fixed shuffle are held out for test and evaluation."""
    rows = _read(path).shuffle(seed=DRAW_SEED)
    held = max(1, int(len(rows) * dataset.holdout))
    if len(rows) < 3:
        raise DataError(f"{path} has {len(rows)} rows; a part has to be held out", cure="give a file with more rows")
    ends = {"test": range(held), "eval": range(held, 2 * held), "train": range(2 * held, len(rows))}
    return rows.select(ends[role])


def _hub(dataset: DatasetSection, split: str) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(dataset.name, dataset.config, split=split, revision=dataset.revision)
    except ValueError as error:
        raise DataError(
            f"{dataset.name}: {error}", cure="set dataset.config or the split names to one of these"
        ) from error
    except Exception as error:  # offline, missing and gated come as a dozen classes of three libraries
        raise DataError(
            f"the data set {dataset.name!r} can't be loaded: {error}",
            cure="check the name and the network; without the Hub use a local file, fetched:reuters-r8 "
            "(peft-labs fetch-models) or a tiny:<task>",
        ) from error


# -- rows to texts ----------------------------------------------------------------------------------------------------


def placeholders(template: str) -> list[str]:
    """The column names in a template's {placeholders}, in order."""
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def around_response(dataset: DatasetSection) -> tuple[str, str]:
    """The template before the response's placeholder, and from it on.

    Blanks before the placeholder go with the response: tokenizers join a blank and the word behind it to one token, so
    a prompt that ended with the blank would be split otherwise in training than in use. A final line break, as YAML's
    ``|`` leaves one, is dropped.
    """
    template = (dataset.prompt_template or "").removesuffix("\n")
    mark = "{" + (dataset.response_field or placeholders(template)[-1])
    start = template.rindex(mark)
    before = template[:start].rstrip(" \t")
    return before, template[len(before) :]


def check_columns(columns: list[str], dataset: DatasetSection) -> None:
    """Refuse rows that lack what the prompts are made of.

    Args:
        columns: The names of the rows' columns.
        dataset: The ``dataset:`` section.

    Raises:
        DataError: Naming the columns that are there.
    """
    field, shown = chat_field(dataset), ", ".join(columns)
    if field and not dataset.messages_field and field not in columns:
        raise DataError(
            f"{dataset.name}: what is the prompt? There is neither dataset.prompt_template nor response_marker, nor a "
            f"column {field!r} with chats; the columns are {shown}",
            cure='add prompt_template: "Question: {question}\nAnswer: {answer}" with your columns, or messages_field',
        )
    if dataset.response_marker and dataset.text_field not in columns and "messages" in columns:
        raise DataError(
            f"{dataset.name}: dataset.response_marker splits a text, but the columns are {shown}",
            cure="remove response_marker: the chat messages then go through the tokenizer's chat template",
        )
    if field and dataset.max_words:
        raise DataError(
            f"{dataset.name}: dataset.max_words does not cut messages", cure="remove it; set sft.max_length"
        )
    needed = [field] if field else placeholders(dataset.prompt_template or f"{{{dataset.text_field}}}")
    _check_names([*needed, *dataset.max_words], columns, dataset.name)


def _check_names(needed: list[str], columns: list[str], where: str) -> None:
    for name in needed:
        if name not in columns:
            found = f"{where}: there is no column {name!r}; the columns are {', '.join(columns)}"
            raise DataError(found, cure=f"rename the column or the placeholder: {did_you_mean(name, columns)}")


def cut_words(text: Any, column: str, dataset: DatasetSection) -> str:
    """A column's text, cut after its ``max_words``; nothing for a gap."""
    text = "" if text is None else str(text)
    words = dataset.max_words.get(column)
    return text if words is None else " ".join(text.split()[:words])


def prompts_of(rows: Dataset, dataset: DatasetSection) -> list[str]:
    """The rows' prompts; see :func:`prompt_of`."""
    return [prompt_of(row, dataset) for row in rows]


def _cut(row: Mapping[str, Any], dataset: DatasetSection) -> dict[str, Any]:
    """The row with over-long columns cut after ``max_words`` words."""
    cut = {key: "" if value is None else value for key, value in row.items()}
    for name, words in dataset.max_words.items():
        if name in cut:
            cut[name] = " ".join(str(cut[name]).split()[:words])
    return cut


def _pairs(
    row: Mapping[str, Any], dataset: DatasetSection, number: int | None, tokenizer: Any, every_turn: bool = False
) -> list[tuple[str, str]]:
    where = f"{dataset.name}, row {number}" if number else dataset.name
    if chat_field(dataset):
        return chat_pairs(messages_of(row, dataset, where), tokenizer, where, every_turn)
    return [_pair(row, dataset, where)]


def _pair(row: Mapping[str, Any], dataset: DatasetSection, where: str) -> tuple[str, str]:
    if dataset.prompt_template:
        before, after = around_response(dataset)
        cut = _cut(row, dataset)
        prompt, completion = before.format_map(cut), after.format_map(cut)
    else:
        text, marker = str(row[dataset.text_field]), dataset.response_marker or ""
        at = text.rfind(marker)
        if at < 0:
            raise DataError(
                f"{where}: the response marker {marker!r} does not stand in it",
                cure="set dataset.response_marker to the text that stands before each answer",
            )
        prompt, completion = text[: at + len(marker)], text[at + len(marker) :]
    if not completion.strip():
        raise DataError(f"{where}: the response is empty", cure="remove the row; there is nothing to learn from it")
    return prompt, completion
