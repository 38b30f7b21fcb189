"""Answers generated from a model, and how many of them are right."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.finetune.metrics.answers import NAMES as ANSWERS
from shared.finetune.metrics.answers import judged, wanted
from shared.finetune.processes import shared_out
from shared.finetune.tasks import TASKS
from shared.finetune.tasks.degrees import SCORES as DEGREE_SCORES
from shared.finetune.verbs import exit_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from shared.finetune.config import Config


@dataclass(frozen=True)
class Generation:
    """One generated answer.

    Attributes:
        text: The answer, without the end-of-text token and cut before the first stop text.
        ended: Whether the model ended it by itself, with its end-of-text token.
        reason: ``"eos"``, ``"stop"`` (a stop text came) or ``"length"``.
    """

    text: str
    ended: bool
    reason: str = "eos"


def generate_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int = 64,
    batch_size: int = 64,
    stop: Sequence[str] = (),
    progress: Any = None,
) -> list[Generation]:
    """Answer prompts greedily, in batches of like length.

    Prompts are sorted by length, so that little is padded, padded on the left, so that all answers start at the same
    place, and the answers come back in the prompts' order.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer; left as it was.
        prompts: The prompts.
        max_new_tokens: Longest answer [tokens].
        batch_size: Prompts at once.
        stop: Texts that end an answer; they are not part of it.
        progress: Called with the number of finished prompts after each batch.

    Returns:
        One generation per prompt.
    """
    ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    answers: list[Generation | None] = [None] * len(ids)
    was_training = model.training
    model.eval()
    try:
        for chosen in _batches(ids, order, batch_size, alike=_has_input_prompt(model)):
            batch = _answer_batch(model, tokenizer, [ids[index] for index in chosen], max_new_tokens, list(stop))
            for index, answer in zip(chosen, batch, strict=True):
                answers[index] = answer
            if progress is not None:
                progress(len(batch))
    finally:
        model.train(was_training)
    return answers  # type: ignore[return-value]


def score(
    generations: Sequence[Generation], references: Sequence[str], format_regex: str | None = None
) -> dict[str, float]:
    """How many answers are right, and how many have the right form.

    Args:
        generations: The answers.
        references: The right answers, in the same order.
        format_regex: The form that an answer has to match as a whole; None: it only has to have ended by itself.

    Returns:
        ``exact_match`` and ``format`` as shares [0–1], ``n`` the number of answers.

    Raises:
        ValueError: If the numbers of answers and references differ.
    """
    right = [one.text.strip() == reference.strip() for one, reference in zip(generations, references, strict=True)]
    pattern = re.compile(format_regex, re.DOTALL) if format_regex else None
    formed = [one.ended and (pattern is None or pattern.fullmatch(one.text.strip()) is not None) for one in generations]
    number = len(right)
    return {"exact_match": sum(right) / max(number, 1), "format": sum(formed) / max(number, 1), "n": number}


def evaluate_rows(model: Any, tokenizer: Any, config: Config, split: str = "test", progress: Any = None) -> dict:
    """Answer the rows of a split and score them, by the ``evaluation:`` section.

    Returns:
        The metrics of the task as shares [0–1], ``perplexity`` where it is asked for, ``n``, and ``answers``: one dict
        per row with answer, reference, right (and prompt for CAUSAL_LM, whose shares are :func:`score`'s).
    """
    rows = scored_rows(config, split)
    answer = _answer_rows if config.task_type == "CAUSAL_LM" else TASKS[config.task_type].evaluate
    extra = {}
    if config.evaluation.perplexity:
        from shared.finetune.perplexity import perplexity

        extra["perplexity"] = perplexity(model, tokenizer, rows, config)
    return {**answer(model, tokenizer, rows, config, progress), **extra}


def check_references(config: Config, split: str = "test") -> None:
    """Refuse rows that can't be judged: ``evaluation.metric`` needs more, or their labels are hidden. To be known
    before hours of training, not after.

    Raises:
        DataError: Naming what the rows lack.
    """
    from shared.finetune.data import response_of

    task = TASKS[config.task_type]
    if task.references is not None:
        task.references(scored_rows(config, split), config, task.labels(config))
    elif config.task_type == "CAUSAL_LM" and config.evaluation.metric != "exact_match":
        rows = scored_rows(config, split)
        wanted(rows, [response_of(row, config.dataset) for row in rows], config)


def scored_rows(config: Config, split: str) -> Any:
    """The rows of a split that are answered: the first ``evaluation.rows``."""
    from shared.finetune.data import load_rows

    rows, number = load_rows(config.dataset, split), config.evaluation.rows
    return rows if number is None or number >= len(rows) else rows.select(range(number))


def _answer_rows(model: Any, tokenizer: Any, rows: Any, config: Config, progress: Any = None) -> dict:
    from shared.finetune.data import reference_of, to_prompt_completion

    settings = config.evaluation
    pairs = to_prompt_completion(rows, config.dataset, tokenizer)
    prompts = list(pairs["prompt"])
    references = [reference_of(text, config.dataset, tokenizer) for text in pairs["completion"]]
    right = wanted(rows, references, config)

    def answers_of(places: list[int]) -> list[Generation]:
        own = [prompts[place] for place in places]
        return generate_answers(
            model, tokenizer, own, settings.max_new_tokens, settings.batch_size, settings.stop, progress
        )

    found = shared_out(len(prompts), answers_of)
    marks = judged(settings.metric, [one.text for one in found], right)
    answers = [
        {"prompt": prompt, "answer": one.text.strip(), "reference": reference, "ended": one.ended, "right": mark}
        for prompt, one, reference, mark in zip(prompts, found, references, marks, strict=True)
    ]
    scores = score(found, references, settings.format_regex) | {settings.metric: sum(marks) / len(marks)}
    return {**scores, "answers": answers}


def _answer_batch(model: Any, tokenizer: Any, ids: list[list[int]], max_new_tokens: int, stop: list[str]) -> list:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    width = max(len(one) for one in ids)
    ends = _end_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else next(iter(ends), 0)
    input_ids = torch.tensor([[pad] * (width - len(one)) + one for one in ids], device=model.device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids], device=model.device)
    # A fresh configuration: the model's own may sample, and greedy answers have to be the same on each call
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=sorted(ends) or None
    )
    criteria = StoppingCriteriaList([_StopTexts(tokenizer, stop, width)]) if stop else None
    with torch.no_grad(), warnings.catch_warnings():
        # peft counts positions from the prompt on, and warns that it leaves out those that generate() hands it
        warnings.filterwarnings("ignore", message="Position ids are not supported for parameter efficient tuning")
        # use_model_defaults=False: else transformers takes do_sample=False for "not set" and follows a model whose own
        # settings sample (Llama-2's do), so that "greedy" answers would be drawn at random
        out = model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            generation_config=settings,
            stopping_criteria=criteria,
            use_model_defaults=False,
        )
    return [_cut(tokenizer, row, ends, stop) for row in out[:, width:].tolist()]


def _has_input_prompt(model: Any) -> bool:
    settings = getattr(model, "active_peft_config", None)
    return getattr(settings, "peft_type", None) in ("PROMPT_TUNING", "P_TUNING")


def _batches(ids: list[list[int]], order: list[int], size: int, alike: bool) -> Iterator[list[int]]:
    """The prompts' places in batches; ``alike``: of one length each, so that nothing is padded.

    With virtual tokens peft leaves the positions to the model, which then counts the padding between them and the
    text: answers would depend on what else is in the batch.
    """
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) == size or (alike and len(ids[place]) != len(ids[batch[0]]))):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end a text, of the tokenizer and of the model's generation settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, (list, tuple)) else [own]
    return {one for one in (*listed, tokenizer.eos_token_id) if one is not None}


def _cut(tokenizer: Any, row: list[int], ends: set[int], stop: list[str]) -> Generation:
    at = next((place for place, token in enumerate(row) if token in ends), None)
    text = tokenizer.decode(row[:at], skip_special_tokens=True)
    first = min((text.index(one) for one in stop if one in text), default=None)
    if first is not None:
        return Generation(text[:first], False, "stop")
    return Generation(text, at is not None, "eos" if at is not None else "length")


class _StopTexts:
    """Ends each row of a batch as soon as a stop text stands in what it generated (a StoppingCriteria)."""

    def __init__(self, tokenizer: Any, stop: list[str], start: int):
        self.tokenizer, self.stop, self.start = tokenizer, stop, start
        # a token holds at least one byte, so the stop text lies within so many last tokens
        self.window = max(len(one.encode()) for one in stop) + 1

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        tail = input_ids[:, max(self.start, input_ids.shape[1] - self.window) :]
        texts = self.tokenizer.batch_decode(tail, skip_special_tokens=True)
        return torch.tensor([any(one in text for one in self.stop) for text in texts], device=input_ids.device)


def main(argv: list[str] | None = None) -> int:
    """``peft-labs evaluate``: the task's metrics on a split.

    Returns:
        0, or 1 after an error that is printed with its cure.
    """
    parser = argparse.ArgumentParser(prog="peft-labs evaluate", description="Score a model on a split.")
    parser.add_argument("--config", required=True, help="the YAML file")
    parser.add_argument("--model_path", help="an adapter or model folder; without it the untuned base is scored")
    parser.add_argument("--split", default="test", choices=["train", "eval", "test"])
    parser.add_argument("--output_file", help="write metrics and answers here (.json)")
    parser.add_argument("overrides", nargs="*", help="key=value, for example evaluation.rows=50")
    args = parser.parse_args(argv)
    return exit_code(lambda: print(_report(args)))


def _report(args: argparse.Namespace) -> str:
    from shared.finetune.config import load_config
    from shared.finetune.files import write_json
    from shared.finetune.models import load_tuned
    from shared.finetune.progress import bar

    config = load_config(args.config, args.overrides)
    model, tokenizer = load_tuned(config, args.model_path)
    with bar("answers") as progress:
        found = evaluate_rows(model, tokenizer, config, args.split, progress)
    if args.output_file:
        write_json(Path(args.output_file), {"model_path": args.model_path, "split": args.split, **found})
    return f"{config.task_name}, {args.split} split: {scores_text(found)}"


def scores_text(found: dict[str, Any]) -> str:
    """The metrics in one line, ``accuracy 81.0%, f1 80.2% (n=200)``."""
    known = [*ANSWERS[1:], *(name for task in TASKS.values() for name in task.metrics), *DEGREE_SCORES]
    shown = ", ".join(f"{name.replace('_', ' ')} {found[name]:.1%}" for name in dict.fromkeys(known) if name in found)
    more = f", perplexity {found['perplexity']:.2f}" if "perplexity" in found else ""
    return f"{shown}{more} (n={found['n']})"


def majority(references: Iterable[str]) -> dict[str, Any]:
    """The most frequent answer, and the share of exact matches that always giving it would reach."""
    from collections import Counter

    references = [one.strip() for one in references]
    answer, times = Counter(references).most_common(1)[0]
    return {"answer": answer, "exact_match": times / len(references), "n": len(references)}


if __name__ == "__main__":
    raise SystemExit(main())
