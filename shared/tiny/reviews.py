"""Reviews of films: a visit, a little of the plot, opinions of several people on several films, one verdict.

What counts is the *reviewer's* verdict. Other people's views, other films and what the reviewer admits against the own
verdict stand beside it, so neither the number of good words nor the last sentence decides.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.tiny.opinions import DISLIKED, LIKED, Critic, opinion
from shared.tiny.stories import MARK
from shared.tiny.word_pools import DAYS, JOBS, PEOPLE, RIDES, THINGS, TOWNS
from shared.tiny.world import Deck

VISITS = (
    "I saw {f} in {t}.", "On {d} I went to see {f}.", "{p} took me to see {f} on {d}.", "I saw {f} with {p}.",
    "They show {f} in {t}.", "We saw {f} in {t} on {d}.", "{p} and I went to {f}.",
)  # fmt: skip
PLOTS = (
    "It tells of a {j} from {t} who loses a {x}.", "A {j} looks for a {x} in {t}.", "It is about a {j} and a {x}.",
    "It plays in {t}, in the house of a {j}.", "A {x} is found and a {j} goes away.", "It begins in {t} with a {x}.",
)  # fmt: skip
DETAILS = (
    "The ticket was {n} coins.", "It takes {n} minutes too many.", "We sat in row {n}.", "We went there by {r}.",
    "There were {n} people.", "The evening cost {n} coins.", "It takes two hours.", "We came home by {r}.",
)  # fmt: skip
VIEWS_OF_OTHERS = ("{w} found it {q}.", "{w} called it {q}.", "For {w} it was {q}.", "{w} said that it was {q}.")
OTHER_FILMS = (
    "On {d} I saw {o}, and that was {q}.", "{o}, which they showed before, is {q}.", "In {t} I saw {o}: that is {q}.",
    "{p} says that {o} is {q}.",
)  # fmt: skip
ADMITTED = ("True, {c}.", "I admit that {c}.", "Yes, {c}.", "Of course {c}.")
VERDICTS = (
    "All in all, I found it {q}.", "My verdict: {q}.", "I found it {q}.", "To me it was {q}.", "I would call it {q}.",
    "In my view it is {q}.",
)  # fmt: skip
FAMILY = ("my brother", "my sister")
# own opinions, then the chances of: another person's view (drawn twice), another film, something admitted, a verdict
SHAPES = {
    "plain": ((1, 2), 0.0, 0.0, 0.0, 0.9),
    "easy": ((2, 3), 0.2, 0.1, 0.1, 0.9),
    "normal": ((1, 2), 0.45, 0.35, 0.4, 0.6),
    "hard": ((1, 1), 0.7, 0.6, 0.8, 0.7),
}
AGAINST = 0.55  # share of other views and other films whose judgement is opposite to the verdict


@dataclass(frozen=True)
class Review:
    """One review.

    Attributes:
        text: All sentences.
        good: Whether the reviewer is for the film.
        film: Its title.
        others: Name of each person whose view is told -> whether that person is for the film.
        keys: What the reviewer's opinions say; each belongs to one split, see ``shared.tiny.opinions``.
    """

    text: str
    good: bool
    film: str
    others: dict[str, bool]
    keys: tuple


class Reviewer:
    """Writes reviews of one split."""

    def __init__(self, rng: random.Random, split: str, level: str = "normal"):
        self.rng, self.split, self.level = rng, split, level
        self.people = Deck(PEOPLE, rng)

    def review(self, good: bool | None = None) -> Review:
        """Write a review.

        Args:
            good: For or against; by default at random.

        Returns:
            The review.
        """
        rng = self.rng
        good = rng.random() < 0.5 if good is None else good
        own, views, film, admits, verdict = SHAPES[self.level]
        critic, others = Critic(rng, self.level), {}
        title = critic.film()
        said = [opinion(rng, self.split, self.level, good, title) for _ in range(rng.randint(*own))]
        body = [one.text if i == 0 else _the_film(one.text, title) for i, one in enumerate(said)]
        for _ in range(2):
            if rng.random() < views:
                body.append(self._view(critic, good, others))
        if rng.random() < film:
            body.append(self._other_film(critic, good))
        if rng.random() < admits:
            body.append(rng.choice(ADMITTED).format(c=critic.clause(not good)))
        if rng.random() < verdict:
            body.append(rng.choice(VERDICTS).format(q=critic.quality(good)))
        body += [self._scene(pattern) for pattern in rng.sample(DETAILS, rng.choice((0, 1)))]
        rng.shuffle(body)
        head = [self._scene(rng.choice(VISITS), title)]
        head += [self._scene(rng.choice(PLOTS))] if rng.random() < 0.6 else []
        return Review(" ".join(head + body), good, title, others, tuple(one.key for one in said))

    def _view(self, critic: Critic, good: bool, others: dict[str, bool]) -> str:
        side = good if self.rng.random() > AGAINST else not good
        who = self.rng.choice(FAMILY) if self.rng.random() < 0.2 else self.people.draw()
        if who in PEOPLE:
            others[who] = side
        text = self.rng.choice(VIEWS_OF_OTHERS).format(w=who, q=critic.quality(side))
        return text[0].upper() + text[1:]

    def _other_film(self, critic: Critic, good: bool) -> str:
        side = good if self.rng.random() > AGAINST else not good
        return self._scene(self.rng.choice(OTHER_FILMS), o=critic.film(), q=critic.quality(side))

    def _scene(self, pattern: str, film: str = "", **words: str) -> str:
        rng = self.rng
        person = self.people.draw() if "{p}" in pattern else ""
        return pattern.format(
            f=film, t=rng.choice(TOWNS), d=rng.choice(DAYS), p=person, j=rng.choice(JOBS), x=rng.choice(THINGS),
            n=rng.randint(2, 41), r=rng.choice(RIDES), **words,
        )  # fmt: skip


def _the_film(text: str, title: str) -> str:
    """Say "the film" in place of its title."""
    text = text.replace(title, "the film")
    return text[0].upper() + text[1:]


def reaction_of(rng: random.Random, person: str, good: bool) -> str:
    """What a person does who is for or against a film, the telling word marked."""
    pattern = rng.choice([one for one in (LIKED if good else DISLIKED) if one.startswith("{p}")])
    return pattern.replace("{p} ", f"{person} {MARK}")


def in_short(rng: random.Random, good: bool) -> str:
    """Sum an opinion up in a word, which is marked."""
    head, _, word = rng.choice([one for one in (LIKED if good else DISLIKED) if one.startswith("In")]).rpartition(" ")
    return f"{head} {MARK}{word}"


SPOKEN = ("{p} said: {o}", "{p} wrote: {o}", "{p}: {o}", "{p} told us: {o}")
LETTERS = ("A letter from {p}: {r}", "{p} wrote: {r}", "{p} in the papers: {r}", "{p} said: {r}")


def talk(rng: random.Random, people: Deck, split: str, level: str, crowd: int = 6) -> str:
    """Several people with an opinion each; then, in another order, what each of them did.

    Who did what can only be told from that person's own opinion, and what is for or against has to be worked out.
    """
    names: list[str] = []
    for _ in range(min(crowd, rng.choice((1, 2, 2, 3)))):
        names.append(people.draw(names))
    said = {name: opinion(rng, split, level) for name in names}
    parts = [rng.choice(SPOKEN).format(p=name, o=one.text) for name, one in said.items()]
    if len(said) == 1 and rng.random() < 0.6:
        parts.append(in_short(rng, said[names[0]].good))
    did = [*rng.sample(names, len(names)), *rng.choices(names, k=rng.randint(0, 2))]
    return " ".join(parts + [reaction_of(rng, name, said[name].good) for name in did])


BALLOTS = ("{p}: {q}.", "{p} found it {q}.", "{p} says {q}.", "{q}, says {p}.")


def ballot(rng: random.Random, people: Deck, level: str, crowd: int = 6) -> str:
    """A row of short views, one a person; then, in another order, what each of them did.

    As with the registers of ``shared.tiny.stories``: many names and few other words teach the skill early.
    """
    names: list[str] = []
    for _ in range(rng.randint(min(2, crowd), crowd)):
        names.append(people.draw(names))
    line, critic = rng.choice(BALLOTS), Critic(rng, level)
    sides = {name: rng.random() < 0.5 for name in names}
    parts = [line.format(p=name, q=critic.quality(good)) for name, good in sides.items()]
    did = [*rng.sample(names, len(names)), *rng.choices(names, k=rng.randint(0, 3))]
    return " ".join([part[0].upper() + part[1:] for part in parts] + [reaction_of(rng, who, sides[who]) for who in did])


def letter(reviewer: Reviewer, people: Deck, summed: float = 0.0) -> str:
    """A review in a letter, now and then (``summed``) summed up in a word; then what its writer and others did."""
    rng, review = reviewer.rng, reviewer.review()
    writer = people.draw([*review.others, *[name for name in PEOPLE if name in review.text]])
    sides = {writer: review.good, **review.others}
    did = [*rng.sample(list(sides), len(sides)), *rng.choices(list(sides), k=rng.randint(1, 2))]
    parts = [rng.choice(LETTERS).format(p=writer, r=review.text)]
    if summed and rng.random() < summed:
        parts.append(in_short(rng, review.good))
    return " ".join(parts + [reaction_of(rng, who, sides[who]) for who in did])


def film_talk(
    rng: random.Random,
    letters: float = 0.3,
    ballots: float = 0.2,
    crowd: int = 6,
    levels: Sequence[str] = ("easy", "normal"),
    summed: float = 0.0,
) -> Iterator[str]:
    """Endless marked documents for pretraining: talk about films, ballots and letters.

    Args:
        rng: Source of chance.
        letters: Share of letters, that is of whole reviews.
        ballots: Share of ballots.
        crowd: People in a ballot or talk at most.
        levels: Difficulties that are mixed.
        summed: Share of letters that are summed up in a word.
    """
    people = Deck(PEOPLE, rng)
    reviewers = {level: Reviewer(rng, "pretraining", level) for level in levels}
    while True:
        level, luck = rng.choice(levels), rng.random()
        if luck < letters:
            yield letter(reviewers[level], people, summed)
        else:
            short = luck < letters + ballots
            yield ballot(rng, people, level, crowd) if short else talk(rng, people, "pretraining", level, crowd)


def reviews(split: str, seed: int, level: str) -> Iterator[Review]:
    """Endless reviews of one split."""
    reviewer = Reviewer(random.Random(f"reviews {split} {seed} {level}"), split, level)
    while True:
        yield reviewer.review()
