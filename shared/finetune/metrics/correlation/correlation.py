"""Pearson's and Spearman's correlation, as GLUE reports them for STS-B."""

import datasets
import evaluate
import numpy as np
from pandas import Series


class Correlation(evaluate.Metric):
    """Scores of degrees: how far predictions rise with the references along a line (pearson), or at all (spearman)."""

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
        return {"pearson": self._along_a_line(found, right), "spearman": self._along_a_line(found.rank(), right.rank())}

    def _along_a_line(self, found, right):
        if found.nunique() < 2 or right.nunique() < 2:
            return 0.0  # one answer for all says nothing
        return float(np.corrcoef(found, right)[0, 1])
