"""Pearson's and Spearman's correlation, as GLUE reports them for STS-B."""

import datasets
import evaluate
import numpy as np
from pandas import Series


class Correlation(evaluate.Metric):
    """Scores of a regression: linear correlation (pearson) and rank correlation (spearman)."""

    def _info(self):
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": number, "references": number}),
        )

    def _compute(self, predictions, references):
        found, right = Series(predictions, dtype="float64"), Series(references, dtype="float64")
        return {"pearson": self._pearson(found, right), "spearman": self._pearson(found.rank(), right.rank())}

    def _pearson(self, found, right):
        if found.nunique() < 2 or right.nunique() < 2:
            return 0.0  # not defined for constant predictions
        return float(np.corrcoef(found, right)[0, 1])
