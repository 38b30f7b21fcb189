"""Share of worked answers that end in the correct number."""

import datasets
import evaluate

from shared.finetune.metrics.numbers import same_number


class FinalNumber(evaluate.Metric):
    """Scores of answers as text, by their last number; ``right``: which of them are correct."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        right = [same_number(one, wanted) for one, wanted in zip(predictions, references, strict=True)]
        return {"final_number": sum(right) / len(right), "right": right}
