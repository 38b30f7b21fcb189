"""Accuracy, F1, precision, recall and Matthews' correlation by scikit-learn."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support


class Classification(evaluate.Metric):
    """Scores of classes given as numbers; ``average``: binary (class 1 is the positive one) or macro."""

    def _info(self):
        number = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references, average="binary"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            references, predictions, average=average, zero_division=0
        )
        found = {"accuracy": accuracy_score(references, predictions), "f1": f1, "precision": precision}
        found |= {"recall": recall, "matthews": matthews_corrcoef(references, predictions)}
        return {name: float(value) for name, value in found.items()}
