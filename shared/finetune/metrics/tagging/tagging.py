"""F1, precision and recall over whole entities by seqeval, accuracy over words."""

import warnings

import datasets
import evaluate
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score


class Tagging(evaluate.Metric):
    """Scores of tags (O, B-PER, I-PER …), one list per row; an entity counts if it is completely correct."""

    def _info(self):
        tags = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def _compute(self, predictions, references):
        parts = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*seems not to be NE tag.*")
            scores = {name: float(one(references, predictions, zero_division=0)) for name, one in parts.items()}
        return {**scores, "accuracy": float(accuracy_score(references, predictions))}
