"""Text pairs from which the encoder learns: one text, and another that says some of it again or follows from it.

In part of the second texts some fillers are changed. Which words of the pair then contradict each other is known from
the grammar; telling them is ELECTRA's objective (replaced-token detection, Clark et al. 2020) with a grammar in the
place of the generator. It makes matching across the two texts appear early; masked language modelling alone did not
bring it within the budget.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from shared.tiny.event_kinds import EVENT_KINDS
from shared.tiny.events import Event, contradict, event_of, fill, swap_people
from shared.tiny.fact_kinds import KINDS
from shared.tiny.news import SEQUELS, lines, sequel
from shared.tiny.opinions import comment, opinion, reaction
from shared.tiny.stories import LINES
from shared.tiny.word_pools import PEOPLE
from shared.tiny.world import Fact, World

Span = tuple[int, int, bool]  # first character, character after the last, whether it contradicts the other text


@dataclass(frozen=True)
class Pair:
    """Two texts.

    Attributes:
        a: The first text.
        b: The second text.
        spans_a: Words of the first one that the second one says again or contradicts.
        spans_b: The same in the second one, in the same order; or, with ``spans_a`` empty, what follows from the first.
        related: Whether they speak of the same; an unrelated second text was written about something else.
    """

    a: str
    b: str
    spans_a: list[Span]
    spans_b: list[Span]
    related: bool = True

    def swapped(self) -> Pair:
        """The pair the other way round."""
        return Pair(self.b, self.a, self.spans_b, self.spans_a, self.related)


@dataclass(frozen=True)
class Mix:
    """Shares of the sorts of pair, and how often a second text is changed."""

    registers: float = 0.10
    events: float = 0.30
    questions: float = 0.10
    facts: float = 0.25
    opinions: float = 0.15
    news: float = 0.10
    changed: float = 0.6  # share of pairs with a contradiction in them
    unrelated: float = 0.15
    echo: float = 0.1  # share of events that are reported in the same words the second time
    plain: float = 0.3  # share of opinions without negation and contrast


def pairs(seed: int, mix: Mix) -> Iterator[Pair]:
    """Endless pairs of one seed, of the pretraining split."""
    rng = random.Random(f"pairs {seed}")
    maker = _Maker(rng, mix, seed)
    makers = (maker.registers, maker.events, maker.questions, maker.facts, maker.opinions, maker.news)
    weights = (mix.registers, mix.events, mix.questions, mix.facts, mix.opinions, mix.news)
    while True:
        make = rng.choices(makers, weights)[0]
        pair = make()
        if rng.random() < mix.unrelated:
            pair = Pair(pair.a, make().b, [], [], related=False)
        yield pair.swapped() if rng.random() < 0.5 else pair


def _shift(spans: dict[str, tuple[int, int]], by: int) -> dict[str, tuple[int, int]]:
    return {role: (a + by, b + by) for role, (a, b) in spans.items()}


class _Maker:
    def __init__(self, rng: random.Random, mix: Mix, seed: int):
        self.rng, self.mix = rng, mix
        self.world = World(rng)
        self.news_lines = lines("pretraining", seed, "normal")

    def _changed(self) -> bool:
        return self.rng.random() < self.mix.changed

    def registers(self) -> Pair:
        """A register of short lines, and some of them read out in another order.

        Nearly every word has to be looked up: on this text matching is learnt first.
        """
        rng = self.rng
        story = self.world.story([rng.choice(list(KINDS))], rng.randint(3, 5))
        pattern = rng.choice(LINES)
        again = rng.sample(story, rng.randint(2, len(story)))
        said = {fact: self._false(fact, story) if self._changed() and rng.random() < 0.5 else fact for fact in again}
        a, told = self._lines(pattern, {fact: fact for fact in story})
        b, retold = self._lines(pattern, said)
        both = [(fact, role) for fact in again for role in ("s", "v")]
        false = {(fact, role): said[fact].words()[role] != fact.words()[role] for fact, role in both}
        spans_a, spans_b = ([(*spans[key], false[key]) for key in both if key in told] for spans in (told, retold))
        return Pair(a, b, spans_a, spans_b)

    def _lines(self, pattern: str, said: dict[Fact, Fact]) -> tuple[str, dict[tuple[Fact, str], tuple[int, int]]]:
        """Lines that say something of some facts, and where in the text each fact's roles stand."""
        text, found = "", {}
        for fact, words in said.items():
            line, spans = fill(pattern, words.words())
            text += " " * bool(text)
            found |= {(fact, role): span for role, span in _shift(spans, len(text)).items()}
            text += line
        return text, found

    def events(self) -> Pair:
        """An event reported twice, in other words the second time."""
        rng, event = self.rng, event_of("pretraining", self.rng)
        other = self._other(event) if self._changed() else event
        one, two = rng.sample(EVENT_KINDS[event.kind].tellings, 2)
        two = one if rng.random() < self.mix.echo else two
        return self._compare(fill(one, event.words), fill(two, other.words), event, other)

    def _other(self, event: Event) -> Event:
        if self.rng.random() < 0.25 and len(EVENT_KINDS[event.kind].people()) > 1:
            return swap_people(event, self.rng)
        roles = list(EVENT_KINDS[event.kind].roles)
        return contradict(event, self.rng.sample(roles, self.rng.choice((1, 1, 2, 3))), self.rng)

    def _compare(self, one, two, event: Event, other: Event) -> Pair:
        (a, spans_a), (b, spans_b) = one, two
        differs = {role for role, filler in event.words.items() if other.words[role] != filler}
        both = [role for role in spans_a if role in spans_b]
        said, again = ([(*spans[role], role in differs) for role in both] for spans in (spans_a, spans_b))
        return Pair(a, b, said, again)

    def questions(self) -> Pair:
        """One or two events, and a question on one with its answer."""
        rng = self.rng
        event, second = event_of("pretraining", rng), event_of("pretraining", rng)
        telling = rng.choice(EVENT_KINDS[event.kind].tellings)
        a, spans_a = fill(telling, event.words)
        if rng.random() < 0.5 and not set(event.words.values()) & set(second.words.values()):
            more, _ = fill(rng.choice(EVENT_KINDS[second.kind].tellings), second.words)
            if rng.random() < 0.5:
                a, spans_a = f"{more} {a}", _shift(spans_a, len(more) + 1)
            else:
                a = f"{a} {more}"
        role = rng.choice([role for role in EVENT_KINDS[event.kind].asks if role in spans_a])
        other = contradict(event, [role], rng) if self._changed() else event
        question, asked = fill(rng.choice(EVENT_KINDS[event.kind].asks[role]), event.words)
        b = f"{question} {other.words[role]}."
        wrong = other is not event
        both = [name for name in asked if name in spans_a]
        said = [(*spans_a[role], wrong), *((*spans_a[name], False) for name in both)]
        return Pair(
            a, b, said, [(len(question) + 1, len(b) - 1, wrong), *((*asked[name], False) for name in both)]
        )  # fmt: skip

    def facts(self) -> Pair:
        """Facts about two to four people, some of them repeated in other words, asked about, or answered."""
        rng = self.rng
        story = self.world.story([rng.choice(list(KINDS))], rng.randint(2, 4)) if rng.random() < 0.6 else (
            self.world.story())  # fmt: skip
        a, spans_a = "", {}
        for fact in story:
            text, spans = fill(rng.choice(KINDS[fact.kind].tell), fact.words())
            a += " " * bool(a)
            spans_a[fact] = _shift(spans, len(a))
            a += text
        b, spans_b, retold = "", [], {}
        for fact in rng.sample(story, rng.randint(1, min(3, len(story)))):
            said = self._false(fact, story) if self._changed() and rng.random() < 0.6 else fact
            text, spans = self._again(fact, said)
            b += " " * bool(b)
            for role, (start, end) in spans.items():
                if role in spans_a[fact]:
                    retold[fact, role] = said.words()[role] != fact.words()[role]
                    spans_b.append((start + len(b), end + len(b), retold[fact, role]))
            b += text
        told = [(*spans_a[fact][role], false) for (fact, role), false in retold.items()]
        return Pair(a, b, told, spans_b)

    def _false(self, fact: Fact, story: list[Fact]) -> Fact:
        """The fact with the value of another one of the story, or any other: what is near is the harder lie."""
        others = [f.value for f in story if f.kind == fact.kind and f is not fact]
        if not others or self.rng.random() < 0.4:
            others = [v for v in KINDS[fact.kind].values if v not in (fact.value, fact.second)]
        return Fact(fact.kind, fact.subject, self.rng.choice(others), fact.second)

    def _again(self, fact: Fact, said: Fact) -> tuple[str, dict[str, tuple[int, int]]]:
        rng, kind, luck = self.rng, KINDS[fact.kind], self.rng.random()
        if luck < 0.4:
            pattern = rng.choice(kind.tell)
        elif luck < 0.6:
            pattern = f"{rng.choice(kind.ask)[0]} {kind.reply}."
        elif luck < 0.8:
            pattern = rng.choice(kind.ask_subject)[0] + " {s}."
        else:
            person = rng.choice([p for p in PEOPLE if p not in fact.words().values()])
            pattern = rng.choice((f"{person} asked {rng.choice(kind.ask)[1]}. {kind.reply}.",
                                  f"{person} knows {rng.choice(kind.ask_subject)[1]}. It is {{s}}."))  # fmt: skip
        return fill(pattern, said.words())

    def opinions(self) -> Pair:
        """An opinion on a film, and what follows from it or what another person says about it."""
        rng = self.rng
        level = "plain" if rng.random() < self.mix.plain else rng.choice(("easy", "normal", "normal"))
        one, right = opinion(rng, "pretraining", level), rng.random() >= self.mix.changed / 2
        if rng.random() < 0.4:
            b, span = comment(rng, one.good, right, doubts=0.0 if level == "plain" else 0.25)
            return Pair(one.text, b, [], [(*span, not right)])
        b = reaction(rng, one.good == right)
        return Pair(one.text, b, [], [(b.index(" ") + 1, len(b) - 1, not right)])

    def news(self) -> Pair:
        """A line full of names, and a sentence on one of them that fits its sort."""
        rng, drawn = self.rng, next(self.news_lines)
        a = " ".join(drawn.tokens)
        sort, b, (start, end) = sequel(drawn, rng)
        if rng.random() >= self.mix.changed / 2:
            return Pair(a, b, [], [(start, end, False), *_around(b, start, end, False)])
        name = b[start:end]
        wrong = rng.choice([one for one in SEQUELS if one != sort and {one, sort} != {"ORG", "CLUB"}])
        pattern = rng.choice(SEQUELS[wrong])
        b, start = pattern.replace("{x}", name), pattern.index("{x}")
        return Pair(a, b, [], _around(b, start, start + len(name), True))


def _around(text: str, start: int, end: int, false: bool) -> list[Span]:
    """The parts of a sentence before and after a name."""
    return [(a, b, false) for a, b in ((0, start), (end + 1, len(text) - 1)) if b - a > 1]
