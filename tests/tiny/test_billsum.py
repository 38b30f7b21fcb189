"""The task billsum: columns, determinism, disjoint splits, and summaries that an own reader finds in the text."""

import random
import re
from itertools import islice

import pytest

from shared.tiny.bills import Bill, Bills, Clause, bill_text, split_of, summary
from shared.tiny.clause_kinds import COUNTED, DEALING, DEALS, KINDS, WORKS
from shared.tiny.retellings import documents
from shared.tiny.stories import MARK, unmark
from shared.tiny.tasks import TASKS, distinct, load_task

SPLITS = ("train", "validation", "test")
FIRST = set("Requires Provides Prohibits Penalizes Allows Repeals".split())
TASK = TASKS["billsum"]


@pytest.mark.parametrize("split", SPLITS)
def test_columns_and_sizes_are_those_of_the_public_set(split):
    rows = load_task("billsum", split)
    assert rows.column_names == list(TASK.columns) == ["text", "summary", "title"]
    assert len(rows) == TASK.sizes[split]
    assert len(set(rows["text"])) == len(rows)
    assert all(re.fullmatch(TASK.details["format_regex"], text) for text in rows["summary"])


def test_the_same_rows_come_each_time_and_others_with_another_seed():
    first = load_task("billsum", "validation").to_list()
    distinct.cache_clear()
    assert load_task("billsum", "validation").to_list() == first
    assert load_task("billsum", "validation", seed=1).to_list() != first


@pytest.mark.parametrize("level", ["easy", "normal", "hard"])
def test_no_clause_of_a_bill_is_in_two_splits(level):
    told = {}
    for split in SPLITS:
        pairs = islice(TASK.rows(split, 3, level), 400)
        told[split] = {clause for _, event in pairs for clause in event}
        assert {split_of(clause) for clause in told[split]} == {split}
    assert not told["train"] & told["test"]
    assert not told["train"] & told["validation"]
    assert not told["validation"] & told["test"]


def test_pretraining_has_only_clauses_of_its_own_split(monkeypatch):
    told, draw = [], Bills.clause
    monkeypatch.setattr(Bills, "clause", lambda self, *args: told.append(draw(self, *args)) or told[-1])
    list(islice(documents(0), 600))
    counted = [clause for clause in told if clause.kind in COUNTED]
    assert len(counted) > 700
    assert {split_of(clause) for clause in counted} == {"pretraining"}


def test_pretraining_never_shows_the_house_style():
    texts = [unmark(f"{a} {b}")[0] for a, b in islice(documents(1), 4_000)]
    style = re.compile(r"(Requires the|Provides \d|Prohibits \w+ing|Penalizes leaving|Allows \w+ to|Repeals the)")
    assert [text for text in texts if style.search(text)] == []
    assert all(any(word in text for text in texts) for word in "Requires Provides Prohibits Penalizes Allows".split())


def test_every_word_of_a_summary_but_the_styles_own_stands_in_the_bill():
    own = FIRST | set("the The to in by on with free of coins take leaving".split())
    for row in load_task("billsum", "test").select(range(300)):
        told = set(re.findall(r"\w+", row["text"]))
        for word in set(re.findall(r"\w+", row["summary"])) - own:
            forms = {word, word.removesuffix("s"), *(v for v, ing in DEALING.items() if ing == word)}
            forms |= {form for verb in list(forms) for form in ((WORKS | DEALS).get(verb),) if form}
            assert forms & told, (word, row)
        assert row["title"] in row["text"]


FINES, ALLOWS = "Penalizes leaving a {} in {} with {} coins.", "Allows {}s to take the {} free on {}."
# An own reader: sentence of a bill -> sentence of the summary, without a look at how bills are made.
READ = (
    (r"(?:It is the duty of )?[Tt]he ([A-Z]\w+ [A-Z]\w+) (?:shall|to) (\w+) the (\w+) in (\w+) by (\w+)\.",
     lambda a, v, o, t, m: f"Requires the {a} to {v} the {o} in {t} by {m}."),
    (r"By (\w+) the (\w+ \w+) shall (\w+) the (\w+) in (\w+)\.",
     lambda m, a, v, o, t: f"Requires the {a} to {v} the {o} in {t} by {m}."),
    (r"The (\w+) in (\w+) shall be (\w+) by the (\w+ \w+) not later than (\w+)\.",
     lambda o, t, v, a, m: f"Requires the {a} to {verb(WORKS, v)} the {o} in {t} by {m}."),
    (r"The \w+ \w+ shall pay (\d+) coins to each (\w+) in (\w+)\.",
     lambda n, j, t: f"Provides {n} coins to {j}s in {t}."),
    (r"Each (\w+) in (\w+) shall be paid (\d+) coins by .*\.", lambda j, t, n: f"Provides {n} coins to {j}s in {t}."),
    (r"There shall be paid (\d+) coins to each (\w+) in (\w+) by .*\.",
     lambda n, j, t: f"Provides {n} coins to {j}s in {t}."),
    (r"(?:No one shall|It is unlawful to) (\w+) (\w+) in (\w+) on a (\w+)\.",
     lambda v, g, t, d: f"Prohibits {DEALING[v]} {g} in {t} on {d}."),
    (r"On a (\w+) no (\w+) shall be (\w+) in (\w+)\.",
     lambda d, g, v, t: f"Prohibits {DEALING[verb(DEALS, v)]} {g} in {t} on {d}."),
    (r"Whoever leaves a (\w+) in (\w+) shall pay (\d+) coins\.", FINES.format),
    (r"A fine of (\d+) coins is due from whoever leaves a (\w+) in (\w+)\.",
     lambda n, r, t: FINES.format(r, t, n)),
    (r"For leaving a (\w+) in (\w+) the fine is (\d+) coins\.", FINES.format),
    (r"Any (\w+) may take the (\w+) free of charge on a (\w+)\.", ALLOWS.format),
    (r"On a (\w+) any (\w+) may take the (\w+) free of charge\.", lambda d, j, r: ALLOWS.format(j, r, d)),
    (r"No fare for the (\w+) shall be asked from any (\w+) on a (\w+)\.",
     lambda r, j, d: ALLOWS.format(j, r, d)),
    (r"(?:From now on the|The) (\w+) Act(?: of|, passed in) (\d+),? (?:is (?:hereby )?repealed|has no force)\.",
     lambda x, y: f"Repeals the {x} Act of {y}."),
)  # fmt: skip


def verb(forms, participle):
    return next(v for v, form in forms.items() if form == participle)


def read(text):
    """Sum up a bill from its sentences alone."""
    found = []
    for sentence in re.split(r"(?<=[.;:]) ", text):
        for pattern, say in READ:
            if match := re.fullmatch(pattern, sentence):
                found.append(say(*match.groups()))
    return " ".join(found)


@pytest.mark.parametrize("level", ["easy", "normal", "hard"])
def test_an_own_reader_sums_up_alike(level):
    rows = [row for row, _ in islice(TASK.rows("test", 0, level), 400)]
    assert [read(row["text"]) for row in rows] == [row["summary"] for row in rows]
    assert {row["summary"].split()[0] for row in rows} == FIRST


def test_names_of_a_bill_name_one_clause_each():
    bills = Bills(random.Random(0), "train")
    for _ in range(300):
        bill = bills.bill(3, 2)
        towns = [w for clause in bill.clauses for slot, w in clause.fillers if slot in "tn"]
        assert len(set(towns)) == len(towns)


def test_difficulty_sets_the_number_of_clauses():
    def clauses(level):
        rows = [row for row, _ in islice(TASK.rows("train", 0, level), 300)]
        openings = re.compile(r"^(Be it enacted:|Section 1\.|An Act\.|A bill\.) ")
        texts = [openings.sub("", row["text"]) for row in rows]
        return {
            (len(re.findall(r"[.;]( |$)", t)) - 1, r["summary"].count(".")) for t, r in zip(texts, rows, strict=True)
        }

    assert clauses("easy") == {(2, 1), (2, 2), (3, 2)}
    assert clauses("normal") == {(3, 1), (3, 2)}
    assert clauses("hard") == {(5, 3), (5, 4)}


def test_what_does_not_count_is_left_out():
    rng = random.Random(0)
    bills = Bills(rng, "test")
    noise = tuple(bills.clause(kind) for name, kind in KINDS.items() if name not in COUNTED)
    repeal = Clause("repeal", (("x", "Salt"), ("y", "1912")))
    bill = Bill("Safe Roads", (*noise[:3], repeal, *noise[3:]))
    assert summary(bill) == "Repeals the Salt Act of 1912."
    assert read(bill_text(bill, rng)) == summary(bill)


def test_marks_stand_before_words_that_the_beginning_determines():
    for beginning, continuation in islice(documents(2, {"bills": 1}), 300):
        assert MARK not in beginning
        words = set(re.findall(r"\w+", beginning.lower()))
        forms = words | {w + "s" for w in words} | {w.removesuffix("s") for w in words}
        forms |= {f for w in words for table in (WORKS, DEALS, DEALING) for f in ((table.get(w)),) if f}
        forms |= {v for v, form in (WORKS | DEALS).items() if form in words}
        forms |= {DEALING[v] for v, form in DEALS.items() if form in words}
        marked = re.findall(MARK + r"(\w+)", continuation)
        assert [w for w in marked if w.lower() not in forms] == [], (beginning, continuation)
