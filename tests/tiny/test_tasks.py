"""The generated tasks: schema, sizes, determinism, leakage, and answers that follow from the text."""

import random
import re
from itertools import combinations, islice

import pytest

from shared.errors import DataError
from shared.tiny import MODELS, TASKS, load_task
from shared.tiny.fact_kinds import KINDS
from shared.tiny.show import sample
from shared.tiny.stories import MARK, document, unmark
from shared.tiny.tasks.instructions import episodes
from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import Deck, Fact, World, split_of

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("name", TASKS)
def test_schema_and_sizes(name):
    for split in SPLITS:
        rows = load_task(name, split)
        assert tuple(rows.column_names) == TASKS[name].columns
        said = {repr({key: row[key] for key in row if key not in ("id", "idx")}) for row in rows}
        assert len(rows) == TASKS[name].sizes[split] == len(said)
    assert len(load_task(name, "train")) >= 4_000
    assert len(load_task(name, "validation")) >= 500
    assert len(load_task(name, "test")) >= 1_000


@pytest.mark.parametrize("name", TASKS)
def test_same_seed_same_rows_other_seed_other_rows(name):
    from shared.tiny.tasks import distinct

    first = load_task(name, "validation").to_list()
    distinct.cache_clear()
    assert load_task(name, "validation").to_list() == first
    assert load_task(name, "validation", seed=1).to_list() != first


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
@pytest.mark.parametrize("name", TASKS)
def test_no_text_in_two_splits_whatever_the_seed(name, difficulty):
    """Compares what a model reads: the same words with another number, label or answer would be a leak as well."""
    answers = {"id", "idx", "label", "ner_tags", "answers", "tests", "answer", "summary", "output", "response", "type"}

    def texts(split):
        rows = load_task(name, split, int(split == "train"), difficulty)
        return {repr([value for key, value in row.items() if key not in answers]) for row in rows}

    seen = {split: texts(split) for split in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not seen[one] & seen[other]


def test_a_story_belongs_to_one_split_whatever_its_wording():
    for split in (*SPLITS, "pretraining"):
        world = World(random.Random(3), split)
        for _ in range(200):
            story = world.story()
            assert split_of(story) == split_of(story[::-1]) == split
    stories = {s: {frozenset(World(random.Random(i), s).story()) for i in range(300)} for s in (*SPLITS, "pretraining")}
    assert not stories["train"] & stories["test"]
    assert not stories["pretraining"] & stories["test"]


def test_pretraining_has_only_stories_of_its_own_split(monkeypatch):
    world, told, story = World(random.Random(0)), [], World.story
    monkeypatch.setattr(World, "story", lambda self, *args: told.append(story(self, *args)) or told[-1])
    for _ in range(300):
        document(world)
    assert len(told) > 200
    assert {split_of(facts) for facts in told} == {"pretraining"}


@pytest.mark.parametrize("difficulty", ["easy", "normal", "hard"])
def test_answers_have_the_house_style_and_their_words_stand_in_the_story(difficulty):
    for episode in islice(episodes("train", 5, difficulty), 500):
        answer = episode["answer"]
        assert re.fullmatch(TASKS["guanaco"].details["format_regex"], answer)
        words = re.findall(r"[A-Za-z0-9]+", answer.split(" - ")[0].removesuffix(" coins"))
        assert words
        assert set(words) <= set(re.findall(r"[A-Za-z0-9]+", episode["context"])), episode


def test_answers_are_right():
    """Answers are recomputed from the told sentences alone, by an own reader."""
    homes = re.compile(
        r"(\w+) lives in (\w+)\.|(\w+) has a house in (\w+)\.|home of (\w+) is in (\w+)\.|In (\w+) lives (\w+)\."
    )
    checked = 0
    for e in islice(episodes("train", 1, "normal"), 2000):
        found = {}
        for a, b, c, d, x, y, town, who in homes.findall(e["context"]):
            found[a or c or x or who] = b or d or y or town
        asked = e["question"].rstrip("?").split()
        if e["sort"] == "value:home":
            who = next(word for word in asked if word in found)
            assert e["answer"] == f"{found[who]} - Place."
        elif e["sort"] == "subject:home":
            assert e["answer"] == next(who for who, town in found.items() if town == asked[-1]) + " - Person."
        elif e["sort"] == "check:home":
            right = found[asked[1]] == asked[-1]
            assert e["answer"] == f"{found[asked[1]]} - {'Yes' if right else 'No'}."
        else:
            continue
        checked += 1
    assert checked > 100


def test_cheaper_and_dearer_compare_numbers():
    found = [e for e in islice(episodes("train", 1, "normal"), 3000) if e["sort"] == "compare:price"]
    assert len(found) > 15
    for e in found:
        told = re.findall(r"[Tt]he (\w+) costs (\d+)|price of the (\w+) is (\d+)", e["context"])
        told += [(t, n, "", "") for n, t in re.findall(r"pay (\d+) coins for the (\w+)|$^", e["context"])]
        told += [(t, n, "", "") for n, t in re.findall(r"For (\d+) coins you get the (\w+)", e["context"])]
        prices = {a or c: int(b or d) for a, b, c, d in told}
        pick = min if "cheaper" in e["question"] else max
        assert e["answer"].split(" - ")[0] == pick(prices, key=prices.get)


def test_instructions_are_of_many_sorts():
    sorts = {e["sort"].split(":")[0] for e in islice(episodes("train", 0, "normal"), 1000)}
    assert sorts == {"value", "subject", "check", "list", "note", "compare", "receiver"}
    assert {e["sort"].split(":")[0] for e in islice(episodes("train", 0, "easy"), 300)} == {"value", "subject"}


def test_difficulty_sets_the_number_of_facts():
    def facts(level):
        return [e["context"].count(".") for e in islice(episodes("train", 0, level), 200)]

    assert set(facts("easy")) == {2}
    assert set(facts("hard")) == {6}
    assert set(facts("normal")) == {2, 3, 4}


def test_unknown_names_are_refused_with_the_choice():
    for bad in (("guanako", "train"), ("guanaco", "dev")):
        with pytest.raises(DataError, match="choose one of"):
            load_task(*bad)
    with pytest.raises(DataError, match="difficulty 'huge'"):
        load_task("guanaco", "train", difficulty="huge")


def test_marks_show_where_the_words_stood():
    assert unmark(f"Ann lives in Rome. Where? {MARK}Rome.") == ("Ann lives in Rome. Where? Rome.", [26])
    assert MARK not in unmark(document(World(random.Random(1))))[0]


def test_a_deck_brings_no_word_twice_before_all_came():
    deck = Deck(PEOPLE, random.Random(0))
    assert sorted(deck.draw() for _ in PEOPLE) == sorted(PEOPLE)
    assert all(deck.draw(not_in=PEOPLE[1:]) == PEOPLE[0] for _ in range(3))


def test_facts_of_a_story_are_unambiguous():
    world = World(random.Random(0))
    for _ in range(300):
        story = world.story()
        for kind in KINDS:
            told = [f for f in story if f.kind == kind]
            assert len({f.subject for f in told}) == len({f.value for f in told}) == len(told)
            assert not {f.second for f in told if f.second} & {f.value for f in told}
    assert Fact("home", "Ann", "Rome").words() == {"s": "Ann", "v": "Rome", "w": ""}


def test_a_sample_can_be_printed():
    assert sample("guanaco", 2).count("### Human:") == 2 + 1  # two rows and the description
    assert "instruction:" in sample("alpaca", 1)
    for model in MODELS:
        assert sample(model, 3).count("\n\n") >= 2, model
    assert "ner_tags: 0 O, 1 B-PER" in sample("conll2003", 1)


@pytest.mark.parametrize("name", ["guanaco", "alpaca"])
def test_the_plain_form_asks_without_marks_and_compares_what_the_story_holds(name):
    plain, row = TASKS[name].plain, load_task(name, "test")[0]
    asked = plain.ask(row)
    assert "#" not in asked and asked.endswith(("? The answer:", ". The answer:"))
    wanted = plain.read(row, "")[1]
    assert " - " not in wanted and wanted.split(",")[0] in asked
    for reply, right in (
        (f" {wanted}. And so on", True),
        (f"{wanted}", True),
        (f"{wanted}x", False),
        ("no idea", False),
    ):
        answer, compared = plain.read(row, reply)
        assert (answer == compared) is right, reply
