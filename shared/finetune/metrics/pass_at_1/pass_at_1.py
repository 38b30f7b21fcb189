"""Share of generated programs that pass their tests at the first attempt."""

import datasets
import evaluate

from shared.finetune.metrics.code_execution import run_tests


class PassAt1(evaluate.Metric):
    """Scores of answers as text with a block of Python; the references are tests. ``right``: which of them pass."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        right = run_tests(predictions, references)
        return {"pass_at_1": sum(right) / len(right), "right": right}
