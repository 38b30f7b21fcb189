"""ROUGE-1, -2 and -L (F1, with stemming) by rouge-score, and exact match."""

import datasets
import evaluate
from rouge_score import rouge_scorer

KINDS = ["rouge1", "rouge2", "rougeL"]


class Rouge(evaluate.Metric):
    """Scores of texts, the mean over the rows."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions, references):
        scorer = rouge_scorer.RougeScorer(KINDS, use_stemmer=True)
        pairs = list(zip(predictions, references, strict=True))
        found = [scorer.score(right, one) for one, right in pairs]
        scores = {kind: sum(one[kind].fmeasure for one in found) / len(found) for kind in KINDS}
        return {**scores, "exact_match": sum(one.strip() == right.strip() for one, right in pairs) / len(pairs)}
