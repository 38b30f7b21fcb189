"""Bills to be summarised in a style that the pretraining text never shows.

The summary tells what the bill changes (duties, grants, bans, fines, permits, repeals), one sentence each, in the
bill's order, from one fixed first word: "Requires …", "Provides …", "Prohibits …". Findings, definitions, exceptions
and the short title are left out. So a model has to select, to copy and to keep the style.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.bills import Bills, bill_text, summary
from shared.tiny.tasks.task import Task

# clauses that count, clauses that do not
SHAPES = {
    "easy": ((1, 1), (2, 0), (2, 1)),
    "normal": ((2, 1), (1, 2)),
    "hard": ((3, 2), (4, 1)),
}


def _billsum(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    rng = random.Random(f"billsum {split} {seed} {level}")
    bills = Bills(rng, split)
    while True:
        bill = bills.bill(*rng.choice(SHAPES[level]))
        row = {"text": bill_text(bill, rng), "summary": summary(bill), "title": f"{bill.name} Act"}
        yield row, tuple(sorted(bill.counted(), key=repr))


# House style, for a check of the format without a reference.
FORMAT = r"((Requires|Provides|Prohibits|Penalizes|Allows|Repeals) [^.]+\. ?)+"

TASKS = (
    Task(
        "billsum", ("text", "summary", "title"),
        "Sum up a bill: what it requires, provides, prohibits, penalizes, allows and repeals.",
        "FiscalNote/billsum", _billsum, "t5", "SEQ_2_SEQ_LM", "rougeL",
        details={"prompt_template": "{text} {summary}", "max_length": 96, "max_target_length": 56,
                 "max_new_tokens": 56, "format_regex": FORMAT},
    ),
)  # fmt: skip
