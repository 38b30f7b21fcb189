"""The encoder's tasks: what makes them need reading, labels recomputed by an own reader, nothing told twice."""

import random
import re
import string
from collections import Counter, defaultdict
from itertools import islice

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from shared.tiny import load_task
from shared.tiny.event_kinds import EVENT_KINDS
from shared.tiny.events import contradict, event_of, fill, new_event, split_of_event, swap_people
from shared.tiny.masking import IGNORED, batches
from shared.tiny.news import FAMILY, NEW_FAMILY, TAGS, lines
from shared.tiny.opinions import BAD, FORMS, GOOD, NEGATIONS, opinion, opinions
from shared.tiny.pairs import Mix, pairs
from shared.tiny.tasks import distinct, mrpc
from shared.tiny.wordpiece import train_wordpiece


def read(sentence):
    """Event kind and fillers of a sentence, found by trying each telling as a regular expression."""
    for kind in EVENT_KINDS.values():
        for telling in kind.tellings:
            pattern, seen = "", set()
            for literal, role, _, _ in string.Formatter().parse(telling):
                pattern += re.escape(literal)
                if role:
                    pattern += f"(?P={role})" if role in seen else f"(?P<{role}>[A-Za-z0-9]+)"
                    seen.add(role)
            found = re.fullmatch(pattern, sentence, re.IGNORECASE)
            if found:
                return kind.name, {role: word.lower() for role, word in found.groupdict().items()}
    raise AssertionError(f"nobody told {sentence!r}")


def test_labels_of_mrpc_are_right_but_for_the_noise():
    for level, noise in mrpc.NOISE.items():
        wrong = 0
        rows = [row for row, _ in islice(mrpc.rows("train", 4, level), 600)]
        for row in rows:
            (kind, one), (other, two) = read(row["sentence1"]), read(row["sentence2"])
            assert kind == other
            same = all(one[role] == two[role] for role in one.keys() & two.keys())
            wrong += same != bool(row["label"])
        assert abs(wrong / len(rows) - noise) < 0.025, level
        assert level != "easy" or wrong == 0


def test_sentences_of_mrpc_that_differ_share_most_words():
    def overlap(row):
        one, two = (set(re.findall(r"\w+", row[key].lower())) for key in ("sentence1", "sentence2"))
        return len(one & two) / min(len(one), len(two))

    rows = load_task("mrpc", "train").to_list()
    means = [sum(overlap(r) for r in rows if r["label"] == x) / sum(r["label"] == x for r in rows) for x in (0, 1)]
    assert means[0] > 0.4
    assert means[1] - means[0] < 0.15


def bag_of_words(texts, labels, test_texts, test_labels):
    return make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000)).fit(texts, labels).score(
        test_texts, test_labels
    )  # fmt: skip


@pytest.mark.parametrize(("level", "least", "most"), [("easy", 0.65, 0.85), ("normal", 0.5, 0.7), ("hard", 0.45, 0.65)])
def test_counting_words_is_not_enough_for_sst2(level, least, most):
    train, test = (load_task("sst2", split, difficulty=level) for split in ("train", "test"))
    assert least < bag_of_words(train["sentence"], train["label"], test["sentence"], test["label"]) < most
    assert 0.45 < sum(test["label"]) / len(test) < 0.55


def test_counting_words_is_not_enough_for_mrpc():
    def joined(rows):
        return [f"{a} {b}" for a, b in zip(rows["sentence1"], rows["sentence2"], strict=True)]

    train, test = load_task("mrpc", "train"), load_task("mrpc", "test")
    majority = max(Counter(test["label"]).values()) / len(test)
    assert bag_of_words(joined(train), train["label"], joined(test), test["label"]) < majority + 0.05


def test_opinions_are_turned_round_in_many_ways():
    drawn = list(islice(opinions("train", 2, "normal"), 2000))
    assert {one.form for one in drawn} == set(FORMS)
    negated = re.compile("|".join(one.replace(" {}", "") for one in NEGATIONS))
    assert 0.25 < sum(bool(negated.search(one.text)) for one in drawn) / len(drawn) < 0.7
    plain = [one for one in drawn if one.form in ("plain", "both") and not negated.search(one.text)]
    for one in plain:  # the only ones whose words tell the side
        assert set(re.findall(r"\w+", one.text)) & set(GOOD if one.good else BAD)
        assert not set(re.findall(r"\w+", one.text)) & set(BAD if one.good else GOOD)


@pytest.mark.parametrize("level", ["plain", "easy", "normal", "hard"])
def test_the_key_of_an_opinion_holds_the_words_that_are_said_and_no_others(level):
    """Words drawn for a wording that was not used would put two opinions that say the same into two splits."""
    for one in islice(opinions("train", 2, level), 1000):
        for word in one.key[2:]:
            assert re.search(rf"\b{word}\b", one.text, re.IGNORECASE), one
        adjectives = {*GOOD, *BAD} & set(re.findall(r"\w+", one.text))
        assert adjectives == set(one.key[2:]) & {*GOOD, *BAD}, one


def test_opinions_that_say_the_same_stand_in_one_split():
    told = defaultdict(set)
    for split in ("train", "validation", "test", "pretraining"):
        for one in islice(opinions(split, 3, "normal"), 3000):
            told[one.text.replace(one.film, "it").lower()].add(split)
    assert all(len(splits) == 1 for splits in told.values())


def test_both_sides_are_said_with_the_same_words():
    told = defaultdict(set)
    for one in islice(opinions("train", 2, "normal"), 4000):
        for word in {*GOOD, *BAD} & set(re.findall(r"\w+", one.text)):
            told[word].add(one.good)
    assert all(len(sides) == 2 for sides in told.values())
    assert len(told) == len(GOOD) + len(BAD)


def test_tags_of_conll2003_are_spans_and_a_bare_name_can_be_of_any_sort():
    sorts = defaultdict(set)
    for row in load_task("conll2003", "train"):
        tags = [TAGS[tag] for tag in row["ner_tags"]]
        assert len(tags) == len(row["tokens"])
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
        for token, tag, after in zip(row["tokens"], tags, [*tags[1:], "O"], strict=True):
            if tag.startswith("B-") and not after.startswith("I-"):
                sorts[token].add(tag)
    free = [name for name in FAMILY if name not in NEW_FAMILY]
    assert sum(sorts[name] >= {"B-PER", "B-ORG", "B-LOC"} for name in free) > 0.9 * len(free)


def test_the_held_out_splits_of_conll2003_have_families_that_training_never_meets():
    tokens = {s: {t for row in load_task("conll2003", s)["tokens"] for t in row} for s in ("train", "test")}
    assert not tokens["train"] & set(NEW_FAMILY)
    assert len(tokens["test"] & set(NEW_FAMILY)) > 0.9 * len(NEW_FAMILY)


@pytest.mark.parametrize("level", ["easy", "normal", "hard"])
def test_answers_of_squad_stand_once_in_the_passage(level):
    for row in load_task("squad", "validation", difficulty=level):
        text, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        assert row["context"][start : start + len(text)] == text
        assert len(re.findall(rf"\b{text}\b", row["context"])) == 1
        assert not re.search(rf"\b{text}\b", row["question"])


def test_answers_of_squad_are_right():
    """Of questions on homes: answered again from the passage by an own reader."""
    homes = re.compile(
        r"(\w+) lives in (\w+)\.|(\w+) has a house in (\w+)\.|home of (\w+) is in (\w+)\.|In (\w+) lives (\w+)\."
    )
    checked = 0
    for row in load_task("squad", "train").filter(lambda row: row["title"] == "Place"):
        found = {}
        for a, b, c, d, x, y, town, who in homes.findall(row["context"]):
            found[a or c or x or who] = b or d or y or town
        words = re.findall(r"\w+", row["question"])
        who, town = next((w for w in words if w in found), None), next((w for w in words if w in found.values()), None)
        right = found[who] if who else next(name for name, place in found.items() if place == town)
        assert row["answers"]["text"] == [right]
        checked += 1
    assert checked > 200


def test_contradictions_stay_in_their_split_and_contradict():
    rng = random.Random(0)
    for kind in EVENT_KINDS.values():
        for _ in range(20):
            event = new_event(rng, kind.name)
            free = [r for r in kind.roles if r not in kind.people() and r not in kind.anchor]
            role = rng.choice(free)
            other = contradict(event, [role], rng)
            assert split_of_event(other) == split_of_event(event)
            assert {r for r in kind.roles if other.words[r] != event.words[r]} == {role}
            if len(kind.people()) > 1:
                swapped = swap_people(event, rng)
                assert split_of_event(swapped) == split_of_event(event)
                assert swapped != event
                assert sorted(swapped.words.values()) == sorted(event.words.values())


def test_each_role_that_is_asked_about_is_in_the_text_and_not_in_the_question():
    for kind in EVENT_KINDS.values():
        for role, questions in kind.asks.items():
            assert any(f"{{{role}}}" in telling for telling in kind.tellings)
            assert not [q for q in questions if f"{{{role}}}" in q]
        event = new_event(random.Random(1), kind.name)
        for telling in kind.tellings:
            text, spans = fill(telling, event.words)
            assert {text[a:b].lower() for a, b in spans.values()} == {event.words[r].lower() for r in spans}
        if kind.rising:
            assert int(event.words[kind.rising[0]]) > int(event.words[kind.rising[1]])


def test_pretraining_has_no_event_opinion_or_line_of_the_tasks():
    keys = {s: {key for _, key in islice(pairs_of(s), 1500)} for s in ("train", "test")}
    told = {kind: set() for kind in EVENT_KINDS}
    for pair in islice(pairs(0, Mix(0, 1, 0, 0, 0, 0, changed=0, unrelated=0)), 1500):
        kind, words = read(pair.a)
        people = [words[r] for r in (*EVENT_KINDS[kind].people(), *EVENT_KINDS[kind].anchor) if r in words]
        told[kind].add((kind, *sorted(word.capitalize() for word in people)))
    assert len(set().union(*told.values())) > 500
    assert not set().union(*told.values()) & (keys["train"] | keys["test"])
    films = {opinion(random.Random(i), "pretraining").key for i in range(2000)}
    assert not films & {one.key for one in islice(opinions("test", 0, "normal"), 2000)}
    news = {line.key for line in islice(lines("pretraining", 0, "normal"), 2000)}
    assert not news & {line.key for line in islice(lines("test", 0, "normal"), 2000)}


def pairs_of(split):
    rng = random.Random(split)
    while True:
        event = event_of(split, rng)
        key = (event.anchor[0], *sorted(word.capitalize() for word in event.anchor[1:]))
        yield event, key


@pytest.mark.parametrize("name", ["mrpc", "sst2", "conll2003", "squad"])
@pytest.mark.parametrize("level", ["easy", "normal", "hard"])
def test_no_event_is_in_two_splits(name, level):
    told = {split: {event for _, event in distinct(name, split, 0, level)} for split in ("train", "validation", "test")}
    assert not told["train"] & told["test"]
    assert not told["train"] & told["validation"]
    assert not told["validation"] & told["test"]


def test_pairs_mark_what_both_texts_say_and_what_contradicts():
    seen = Counter()
    for pair in islice(pairs(1, Mix(0, 1, 0, 0, 0, 0, changed=1.0, unrelated=0)), 300):
        (_, one), (_, two) = read(pair.a), read(pair.b)
        differs = {word for role in one.keys() & two.keys() if one[role] != two[role] for word in (one[role],)}
        marked = {pair.a[a:b].lower() for a, b, wrong in pair.spans_a if wrong}
        assert marked == differs
        seen[len(differs)] += 1
    assert seen[1] and seen[2]


def test_what_is_wanted_is_what_the_mask_in_the_other_text_stands_for():
    tokenizer = train_wordpiece(1, 1600, 128)
    mix = Mix(0, 1, 0, 0, 0, 0, changed=0, unrelated=0)  # events told again
    checked = 0
    for batch in batches(tokenizer, 3, 16, 6, mix, 0.0, 0.3, (64,)):
        for words, determined, wanted, seen in zip(
            batch.words, batch.determined, batch.wanted, batch.input_ids, strict=True
        ):
            hidden, pointed = (words[determined].tolist(), seen[wanted == 1].tolist())
            lower = [
                {tokenizer.decode([piece]).strip("# ").lower() for piece in pieces} for pieces in (hidden, pointed)
            ]
            assert lower[0] == lower[1]
            checked += bool(hidden)
    assert checked > 30


def test_masks_hide_words_and_never_a_changed_one():
    tokenizer = train_wordpiece(1, 1600, 128)
    made = batches(tokenizer, 4, 32, 5, Mix(), 0.15, 0.3, (32, 48, 64))
    assert {batch.input_ids.shape[1] for batch in made} <= {32, 48, 64}
    for batch in made:
        hidden = batch.words != IGNORED
        assert 0.05 < hidden[batch.attention_mask == 1].float().mean() < 0.4
        assert not (hidden & (batch.contradicts == 1)).any()
        assert ((batch.input_ids == tokenizer.mask_token_id) <= hidden).all()
        assert batch.determined[hidden].float().mean() > 0.1
        assert 0 < (batch.wanted == 1).sum() < (batch.wanted == 0).sum()
        assert not (hidden & (batch.wanted != IGNORED)).any()
        assert not (batch.determined & ~hidden).any()
