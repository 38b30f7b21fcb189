"""Parts of a split, written as ``datasets`` writes them for the Hub: ``train[:90%]``, ``train[200:]``, ``a+b``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset


def load_part(spec: str, load: Callable[[str], Dataset]) -> Dataset:
    """The rows that a split's name with slices stands for, of data that only know whole splits.

    Args:
        spec: A split's name, or parts of splits.
        load: Name of a whole split -> its rows.

    Returns:
        The rows, in the order of the parts.

    Raises:
        DataError: If it is no split with slices; and what ``load`` raises.
    """
    if not re.search(r"[\[\]+]", spec):
        return load(spec)
    from datasets import ReadInstruction, concatenate_datasets

    names = [re.sub(r"\[.*", "", part).strip() for part in spec.split("+")]
    whole = {name: load(name) for name in dict.fromkeys(names)}
    try:
        parts = ReadInstruction.from_spec(spec).to_absolute({name: len(rows) for name, rows in whole.items()})
    except (ValueError, AssertionError) as error:
        raise DataError(
            f"{spec!r} is no part of a split: {error}", fix="write it as train[:90%], train[90%:] or train[200:]"
        ) from error
    return concatenate_datasets([whole[one.splitname].select(range(one.from_, one.to)) for one in parts])
