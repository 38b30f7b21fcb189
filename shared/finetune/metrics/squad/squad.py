"""Exact match and F1 as in SQuAD 1.1's own script, as shares instead of per cent."""

import collections
import re
import string

import datasets
import evaluate


def normalized(text):
    """Lower case, without punctuation, articles and repeated spaces."""
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(prediction, reference):
    """F1 over the words that the two have in common."""
    words, right = normalized(prediction).split(), normalized(reference).split()
    common = sum((collections.Counter(words) & collections.Counter(right)).values())
    return 2 * common / (len(words) + len(right)) if common else 0.0


class Squad(evaluate.Metric):
    """Scores of answers as text; each question has a list of references, and the best match counts."""

    def _info(self):
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": text, "references": datasets.List(text)}),
        )

    def _compute(self, predictions, references):
        pairs = list(zip(predictions, references, strict=True))
        exact = [any(normalized(one) == normalized(right) for right in rights) for one, rights in pairs]
        overlap = [max(f1(one, right) for right in rights) for one, rights in pairs]
        return {"exact_match": sum(exact) / len(pairs), "f1": sum(overlap) / len(pairs)}
