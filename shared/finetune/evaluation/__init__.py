"""Generated answers, scores, baselines, and the comparison of methods."""

from shared.finetune.evaluation.generation import Generation, generate_answers
from shared.finetune.evaluation.scoring import evaluate_rows, score, scored_rows, scores_text

__all__ = ["Generation", "evaluate_rows", "generate_answers", "score", "scored_rows", "scores_text"]  # fmt: skip
