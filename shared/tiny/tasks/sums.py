"""Word problems solved step by step, and the same problems asked in other ways."""

from __future__ import annotations

import random
from collections.abc import Iterator

from shared.tiny.sums import Problem, asked, backwards, hidden, problems, told, worked
from shared.tiny.tasks.task import Task


def _gsm8k(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    for problem, rng in problems(split, seed, level):
        yield {"question": question(problem, rng), "answer": solution(problem)}, problem.key


def question(problem: Problem, rng: random.Random) -> str:
    """The story and the question for its last number."""
    return " ".join([*told(problem, rng), asked(problem, rng)])


def solution(problem: Problem) -> str:
    """A line for each calculation, then the answer after four hash signs, as in GSM8K."""
    return "\n".join([*worked(problem), f"#### {problem.answer}"])


def _metamathqa(split: str, seed: int, level: str) -> Iterator[tuple[dict, tuple]]:
    for problem, rng in problems(split, seed + 7_000, level):
        hide = hidden(problem, rng)
        sorts = ["GSM_AnsAug", "GSM_Rephrased"] + (["GSM_SV", "GSM_FOBAR"] if hide is not None else [])
        sort = rng.choice(sorts)
        yield {**SORTS[sort](problem, hide, rng), "type": sort}, problem.key


def _answer(problem: Problem) -> str:
    return " ".join([*worked(problem, notes=False), f"The answer is: {problem.answer}"])


def _same(problem: Problem, hide: int | None, rng: random.Random) -> dict:
    return {"query": question(problem, rng), "response": _answer(problem)}


def _rephrased(problem: Problem, hide: int | None, rng: random.Random) -> dict:
    ask = asked(problem, rng)
    ask = ask[0].lower() + ask[1:-1]
    lead = rng.choice(("Work out the sum:", "Here is a sum:", "Count with care."))
    return {
        "query": f"{lead} {' '.join(told(problem, rng))} The question: {ask}?",
        "response": _answer(problem),
    }


def _unknown(problem: Problem, hide: int) -> str:
    steps, x = backwards(problem, hide)
    return " ".join([*(f"{a} {sign} {b} = {c}." for a, sign, b, c in steps), f"The answer is: {x}"])


def _self_verified(problem: Problem, hide: int, rng: random.Random) -> dict:
    story = " ".join(told(problem, rng, hide))
    return {
        "query": f"{story} In the end the number is {problem.answer}. What is the value of unknown variable x?",
        "response": _unknown(problem, hide),
    }


def _backward(problem: Problem, hide: int, rng: random.Random) -> dict:
    story = " ".join([*told(problem, rng, hide), asked(problem, rng)])
    return {
        "query": f"{story} If we know the answer to the above question is {problem.answer}, "
        "what is the value of unknown variable x?",
        "response": _unknown(problem, hide),
    }


SORTS = {
    "GSM_AnsAug": _same,
    "GSM_Rephrased": _rephrased,
    "GSM_SV": _self_verified,
    "GSM_FOBAR": _backward,
}

TASKS = (
    Task(
        "gsm8k", ("question", "answer"),
        "Solve a word problem step by step; the answer stands behind '####'.",
        "openai/gsm8k", _gsm8k, "gpt2", "CAUSAL_LM", "final_number",
        details={"prompt_template": "Question: {question}\nAnswer: {answer}", "metric": "final_number",
                 "max_length": 192, "max_new_tokens": 96},
    ),
    Task(
        "metamathqa", ("query", "response", "type"),
        "Solve a word problem that was reworded or turned round; the response ends in 'The answer is: n'.",
        "meta-math/MetaMathQA", _metamathqa, "gpt2", "CAUSAL_LM", "final_number",
        details={"prompt_template": "Query: {query}\nResponse: {response}", "metric": "final_number",
                 "max_length": 192, "max_new_tokens": 64},
    ),
)  # fmt: skip
