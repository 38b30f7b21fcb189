"""GLUE (Wang et al., 2018, arXiv:1804.07461): the columns of its tasks, and the metric that is reported first.

``dataset.config`` names the task, as on the Hub; a local copy of the data may use the same key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.finetune.config import Config


@dataclass(frozen=True)
class Glue:
    """One task of GLUE.

    Attributes:
        columns: The column with the text, or the two with a pair.
        metric: The headline among the scores of SEQ_CLS.
        regression: Whether its labels are numbers instead of classes (:mod:`shared.finetune.tasks.regression`).
    """

    columns: tuple[str, ...]
    metric: str = "accuracy"
    regression: bool = False


PAIR = ("sentence1", "sentence2")
GLUE = {
    "cola": Glue(("sentence",), "matthews"),
    "sst2": Glue(("sentence",)),
    "mrpc": Glue(PAIR),  # and F1
    "stsb": Glue(PAIR, "pearson", regression=True),  # similarity from 0 to 5; also Spearman's correlation
    "qqp": Glue(("question1", "question2")),  # and F1
    "mnli": Glue(("premise", "hypothesis")),
    "qnli": Glue(("question", "sentence")),
    "rte": Glue(PAIR),
    "wnli": Glue(PAIR),
}


def glue_task(config: Config) -> Glue | None:
    """The GLUE task that a configuration names, else None; a generated task's ``dataset.config`` is its difficulty."""
    generated = config.dataset.name.startswith("tiny:")
    return None if generated or config.task_type != "SEQ_CLS" else GLUE.get(config.dataset.config or "")
