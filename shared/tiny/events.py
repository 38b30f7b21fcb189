"""Generated events and several ways to report each: who sold what to whom, who beat whom, what was stolen.

An event has roles (``a`` and ``b`` people, ``t`` a thing, ``p`` a town, ``d`` a day, ``n`` a number …). Each kind of
event can be told in several ways that share few words besides the fillers of the roles, and asked about role by role.
Two reports tell the same event if no role contradicts; a report may leave a role out, as news do.
"""

from __future__ import annotations

import random
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.tiny.event_kinds import EVENT_KINDS, POOLS
from shared.tiny.word_pools import NUMBERS
from shared.tiny.world import SPLITS


@dataclass(frozen=True)
class Event:
    """One event: its kind and the fillers of its roles."""

    kind: str
    fillers: tuple[tuple[str, str], ...]

    @property
    def words(self) -> dict[str, str]:
        """Role -> filler."""
        return dict(self.fillers)

    @property
    def anchor(self) -> tuple[str, ...]:
        """What distinguishes this event from others: its kind, its people (in any role) and the kind's anchor."""
        kind = EVENT_KINDS[self.kind]
        return (self.kind, *sorted(self.words[role] for role in (*kind.people(), *kind.anchor)))

    def with_roles(self, fillers: dict[str, str]) -> Event:
        """The same event with other fillers of some roles."""
        return replace(self, fillers=tuple((role, fillers.get(role, filler)) for role, filler in self.fillers))


def new_event(rng: random.Random, kind: str | None = None) -> Event:
    """Draw an event in which no filler stands for two roles."""
    about = EVENT_KINDS[kind or rng.choice(list(EVENT_KINDS))]
    fillers: dict[str, str] = {}
    for role, pool in about.roles.items():
        fillers[role] = rng.choice([word for word in POOLS[pool] if word not in fillers.values()])
    if about.rising:  # far enough apart that each can be contradicted while the other stays
        high, low = about.rising
        middle = len(NUMBERS) // 2
        fillers[low], fillers[high] = rng.choice(NUMBERS[2:middle]), rng.choice(NUMBERS[middle:-2])
    return Event(about.name, tuple(fillers.items()))


def contradict(event: Event, roles: Sequence[str], rng: random.Random) -> Event:
    """The event with other fillers of these roles; people and the anchor stay, so that it stays in its split."""
    about = EVENT_KINDS[event.kind]
    while True:
        fillers = dict(event.words)
        for role in roles:
            fillers[role] = rng.choice([w for w in POOLS[about.roles[role]] if w not in event.words.values()])
        if about.rising is None or int(fillers[about.rising[0]]) > int(fillers[about.rising[1]]):
            return event.with_roles(fillers)


def swap_people(event: Event, rng: random.Random, roles: Sequence[str] | None = None) -> Event:
    """The event with two of its people in each other's place; which two, may be restricted to some roles."""
    one, two = rng.sample(list(roles or EVENT_KINDS[event.kind].people()), 2)
    return event.with_roles({one: event.words[two], two: event.words[one]})


def split_of_event(event: Event) -> str:
    """Say which split an event and all its contradictions belong to, by a checksum of its anchor."""
    return SPLITS[zlib.crc32(" ".join(event.anchor).encode()) % len(SPLITS)]


def event_of(split: str, rng: random.Random, kind: str | None = None) -> Event:
    """Draw an event of one split."""
    while True:
        event = new_event(rng, kind)
        if split_of_event(event) == split:
            return event


def fill(pattern: str, words: dict[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Fill a pattern and say where the fillers stand.

    Returns:
        The text, its first letter a capital, and role -> (start, end) [characters].
    """
    text, spans = "", {}
    for literal, role, _, _ in string.Formatter().parse(pattern):
        text += literal
        if role:
            spans[role] = (len(text), len(text) + len(words[role]))
            text += words[role]
    return text[0].upper() + text[1:], spans
