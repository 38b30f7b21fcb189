"""Reviews, sums and programs: answers recomputed by other means, splits kept apart, word counts not enough."""

import random
import re
from itertools import islice

import pytest

from shared.finetune.metrics import compute
from shared.finetune.metrics.code_execution import extract_code, passes
from shared.tiny import load_task
from shared.tiny.opinions import split_of as split_of_opinion
from shared.tiny.programs import ARGUMENTS, asserts_for, draw, listings, source
from shared.tiny.programs import split_of as split_of_job
from shared.tiny.reviews import film_talk, reviews
from shared.tiny.stories import unmark
from shared.tiny.sums import problems
from shared.tiny.sums import split_of as split_of_problem
from shared.tiny.sums_text import reckoning
from shared.tiny.tasks import distinct

SPLITS = ("train", "validation", "test")
NAMES = ("imdb", "gsm8k", "metamathqa", "code_feedback")


@pytest.mark.parametrize("name", NAMES)
def test_no_event_is_in_two_splits_whatever_the_seed(name):
    events = {}
    for split in SPLITS:
        pairs = distinct(name, split, 0, "normal") + distinct(name, split, 1, "normal")
        # a review or a chat tells several things, each of which may stand in one split only
        several = name in ("imdb", "code_feedback")
        events[split] = {part for _, event in pairs for part in (event if several else [event])} - {True, False}
        assert len(events[split]) > 100
    assert not events["train"] & events["test"]
    assert not events["train"] & events["validation"]
    assert not events["validation"] & events["test"]


def test_pretraining_draws_from_its_own_split_alone(monkeypatch):
    from shared.tiny import programs, reviews, sums

    drawn = {"opinions": set(), "problems": set(), "jobs": set()}

    def note(module, name, kind, split):
        made = getattr(module, name)

        def noting(*args, **kwargs):
            found = made(*args, **kwargs)
            drawn[kind].add(split(found))
            return found

        monkeypatch.setattr(module, name, noting)

    note(reviews, "opinion", "opinions", lambda one: split_of_opinion(one.key))
    note(programs, "draw", "jobs", split_of_job)
    note(sums.Counter, "problem", "problems", lambda one: split_of_problem(one.key))
    for texts in (film_talk(random.Random(0)), reckoning(random.Random(0)), listings(random.Random(0))):
        for _ in range(100):
            next(texts)
    assert drawn == {kind: {"pretraining"} for kind in drawn}


# -- reviews ----------------------------------------------------------------------------------------------------------


def test_reviews_are_balanced_and_a_word_count_does_not_solve_them():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = load_task("imdb", "train"), load_task("imdb", "test")
    assert train.features["label"].names == ["neg", "pos"]
    for rows in (train, test):
        assert 0.46 < sum(rows["label"]) / len(rows) < 0.54
    scores = {}
    for longest in (1, 2):
        counts = CountVectorizer(ngram_range=(1, longest), min_df=2)
        model = LogisticRegression(C=0.1, max_iter=500).fit(counts.fit_transform(train["text"]), train["label"])
        scores[longest] = model.score(counts.transform(test["text"]), test["label"])
    assert 0.50 < scores[1] < 0.70
    assert scores[2] < 0.78


def test_reviews_hold_several_sentences_and_the_views_of_others():
    found = list(islice(reviews("train", 0, "normal"), 500))
    lengths = [len(re.findall(r"[.!?](?: |$)", one.text)) for one in found]
    assert min(lengths) >= 2
    assert sum(lengths) / len(lengths) > 4
    against = [one for one in found if one.others and one.good not in one.others.values()]
    assert len(against) > 80
    for one in found:
        assert one.film in one.text
        assert all(name in one.text for name in one.others)


def test_reviews_of_a_chosen_side():
    from shared.tiny.reviews import Reviewer

    reviewer = Reviewer(random.Random(0), "train")
    assert {reviewer.review(good=True).good for _ in range(20)} == {True}
    assert {reviewer.review(good=False).good for _ in range(20)} == {False}


# -- sums -------------------------------------------------------------------------------------------------------------

GETS = (
    r"gives \w+ {n} more|gets {n} more|finds {n} more|pays {n} coins for a drum|drum for {n} coins|drum that costs {n}"
)
LOSES = r"gives {n} to|takes {n} of them|loses {n}|makes it {n} coins|falls by {n} coins|pays {n} coins of that"
GETS, LOSES = GETS + r"|has {n} (?:\w+ )?more than", LOSES + r"|has {n} (?:\w+ )?fewer than"


def read(story: str, x: int | None = None) -> int:
    """Reckon a story by reading its sentences; ``x`` stands for the unknown number."""
    story = re.sub(r"\bx\b", str(x), story)
    sentences = [one for one in re.split(r"(?<=[.?])\s", story) if re.search(r"\d", one)]
    numbers = [int(n) for n in re.findall(r"\d+", sentences[0])]
    assert len(numbers) <= 2
    now = numbers[0] * (numbers[1] if len(numbers) == 2 else 1)
    for sentence in sentences[1:]:
        gains = re.search(GETS.replace("{n}", r"(\d+)"), sentence)
        losses = re.search(LOSES.replace("{n}", r"(\d+)"), sentence)
        assert (gains is None) != (losses is None), sentence
        number = int(next(n for n in (gains or losses).groups() if n))
        now += number if gains else -number
        assert now >= 0
    return now


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
def test_answers_of_gsm8k_are_recomputed_from_the_question(difficulty):
    for row in load_task("gsm8k", "test", difficulty=difficulty).select(range(400)):
        final = int(re.search(r"#### (\d+)", row["answer"])[1])
        assert read(row["question"]) == final
        assert row["answer"].endswith(f"\n#### {final}")
        notes = re.findall(r"(\d+) ([+*-]) (\d+) = <<(\d+)([+*-])(\d+)=(\d+)>>(\d+)", row["answer"])
        assert len(notes) == row["answer"].count("\n")
        for a, sign, b, c, again, d, result, told in notes:
            assert (a, sign, b, result) == (c, again, d, told)
            right = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
            assert right == int(result)
            assert 0 <= right <= 60
        assert int(notes[-1][-1]) == final


def test_responses_of_metamathqa_are_recomputed_from_the_query():
    sorts = set()
    for row in load_task("metamathqa", "test").select(range(600)):
        query, sort = row["query"], row["type"]
        final = int(re.search(r"The answer is: (\d+)" + "$", row["response"])[1])
        sorts.add(sort)
        if sort in ("GSM_SV", "GSM_FOBAR"):
            mark = (
                " In the end the number is " if sort == "GSM_SV" else " If we know the answer to the above question is "
            )
            story, rest = query.split(mark)
            assert read(story, final) == int(re.match(r"\d+", rest)[0])
        else:
            lead = r"^(Work out the sum: |Here is a sum: |Count with care\. )"
            assert bool(re.match(lead, query)) == (sort == "GSM_Rephrased")
            assert read(re.sub(lead, "", query)) == final
    assert sorts == {"GSM_AnsAug", "GSM_Rephrased", "GSM_SV", "GSM_FOBAR"}


def test_difficulty_sets_the_number_of_steps():
    for level, steps in {"easy": {1}, "normal": {1, 2, 3}, "hard": {3, 4}}.items():
        assert {len(problem.steps()) for problem, _ in islice(problems("train", 0, level), 300)} == steps


# -- programs ---------------------------------------------------------------------------------------------------------


def test_every_program_passes_its_tests():
    rows = load_task("code_feedback", "test").select(range(120))
    answers = [row["messages"][-1]["content"] for row in rows]
    assert compute("pass_at_1", answers, list(rows["tests"]))["pass_at_1"] == 1.0
    assert {len(row["messages"]) for row in rows} == {2, 4}
    for row in rows:
        assert [one["role"] for one in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert row["tests"].count("assert ") == 4


def test_a_wrong_program_fails():
    wrong = {"+": "-", "sum(": "max(", " > ": " < ", " < ": " > ", "[::-1]": "[::1]", "min(": "max(", "* ": "+ "}
    failed, tried = 0, 0
    for row in load_task("code_feedback", "validation").select(range(60)):
        answer = row["messages"][-1]["content"]
        for right, other in wrong.items():
            if right in answer:
                tried += 1
                failed += not passes(answer.replace(right, other), row["tests"])
                break
    assert tried > 30
    assert failed >= 0.9 * tried  # now and then four samples don't tell > from <


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    pass",
        "x = 'a' * 10**10",
        "with open('x', 'w') as file:\n    file.write('a')",
        "import os\nos._exit(0)",
        "(",
    ],
)
def test_what_does_not_end_or_misbehaves_fails(code):
    assert passes("```python\npass\n```", "assert 1 + 1 == 2")
    assert not passes(f"```python\n{code}\n```", "assert True")


def test_an_answer_without_code_fails():
    assert extract_code("Here:\n```python\na = 1\n```\nand\n```python\na = 2\n```") == "a = 2\n"
    assert not passes("def f(x): return x", "assert True")


def test_loops_and_expressions_agree():
    rng, checked = random.Random(0), 0
    while checked < 40:
        job = draw(rng, "train", "hard")
        if job.kind[0] not in ("sum", "number", "list"):
            continue
        checked += 1
        for loop in (False, True):
            code, space = unmark(source(job, "run", ARGUMENTS["list"][0], loop))[0], {}
            exec(f"{code}\n{asserts_for(job, 'run', random.Random(checked))}", space)
            assert ("for v in xs:\n" in code) == loop


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
def test_each_chat_has_a_plain_form_and_its_right_answer_passes(difficulty):
    """The first request as a comment over a definition, as pretraining writes it: all request forms are understood."""
    from shared.tiny import TASKS

    plain, rows = TASKS["code_feedback"].plain, load_task("code_feedback", "test", difficulty=difficulty)
    single = [row for row in rows if len(row["messages"]) == 2]
    for row in rows:
        comment, definition = plain.ask(row).splitlines()
        assert comment.startswith("# ") and re.fullmatch(r"def \w+\(\w+(, \w+)?\):", definition)
    for row in single[:20]:
        body = extract_code(row["messages"][1]["content"]).partition("\n")[2]
        answer, tests = plain.read(row, body)
        assert passes(answer, tests)
        assert not passes(plain.read(row, "    return None")[0], tests)
