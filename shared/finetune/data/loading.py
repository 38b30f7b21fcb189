"""Rows from the Hub, from local files, from the generated tasks or from fetched packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import DataError
from shared.finetune.data.local_files import SUFFIXES, read_file
from shared.finetune.data.prompts import check_responses, text_columns_of
from shared.finetune.data.split_slices import load_part
from shared.finetune.schema.sections import DatasetSection

if TYPE_CHECKING:
    from datasets import Dataset

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
        raise DataError(f"there is no split {split!r}", fix="ask for 'train', 'eval' or 'test'")
    name = getattr(dataset, f"{split}_split")
    rows = _load(dataset, split, name)
    limit = {"train": dataset.max_train_rows, "eval": dataset.max_eval_rows}.get(split)
    if limit is not None and limit < len(rows):
        rows = rows.shuffle(seed=DRAW_SEED).select(range(limit))
    if len(rows) == 0:
        raise DataError(f"{dataset.name}: the split {name!r} has no rows", fix="choose another split or file")
    return rows


def _load(dataset: DatasetSection, role: str, split: str) -> Dataset:
    name = dataset.name
    if name.startswith("tiny:"):
        from shared.tiny import load_task

        task, level = name.removeprefix("tiny:"), dataset.config or "normal"
        return load_part(split, lambda whole: load_task(task, whole, difficulty=level))
    if name.startswith("fetched:"):
        from shared.fetch import fetched

        folder = fetched(name.removeprefix("fetched:"))
        return load_part(split, lambda whole: _folder(folder, whole, dataset))
    path = Path(name).expanduser()
    if path.is_dir():
        return load_part(split, lambda whole: _folder(path, whole, dataset))
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise DataError(
                f"there is no file {name}",
                fix="check dataset.name; paths are relative to the folder the command runs in",
            )
        return _file(path, role, dataset)
    return _hub(dataset, split)


def _folder(folder: Path, split: str, dataset: DatasetSection) -> Dataset:
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}
    if split not in found:
        raise DataError(
            f"{folder} has no split {split!r}; it has: {', '.join(found) or 'no data files'}",
            fix=f"add {split}.jsonl, or set the split names in dataset:",
        )
    return _checked(found[split], dataset)


def _file(path: Path, role: str, dataset: DatasetSection) -> Dataset:
    """One file: the last rows of a fixed shuffle are held out for test and evaluation."""
    rows = _checked(path, dataset).shuffle(seed=DRAW_SEED)
    held = max(1, int(len(rows) * dataset.holdout))
    if len(rows) < 3:
        raise DataError(f"{path} has {len(rows)} rows; a part has to be held out", fix="give a file with more rows")
    ends = {"test": range(held), "eval": range(held, 2 * held), "train": range(2 * held, len(rows))}
    return rows.select(ends[role])


def _checked(path: Path, dataset: DatasetSection) -> Dataset:
    """A file's rows; all of them have a response where the configuration says which column holds it."""
    rows = read_file(path, text_columns_of(dataset))
    check_responses(rows, dataset, str(path))
    return rows


def _hub(dataset: DatasetSection, split: str) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(dataset.name, dataset.config, split=split, revision=dataset.revision)
    except ValueError as error:
        raise DataError(
            f"{dataset.name}: {error}", fix="set dataset.config or the split names to one of these"
        ) from error
    except Exception as error:  # offline, missing and gated come as a dozen classes of three libraries
        raise DataError(
            f"the data set {dataset.name!r} can't be loaded: {error}",
            fix="check the name and the network; without the Hub use a local file, fetched:reuters-r8 "
            "(peft-labs fetch-models) or a tiny:<task>",
        ) from error
