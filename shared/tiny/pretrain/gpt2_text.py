"""The text that the GPT-2 micro-model is pretrained on: mixtures of films, stories, sums and programs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from shared.tiny.corpus import documents
from shared.tiny.programs import listings
from shared.tiny.reviews import film_talk
from shared.tiny.sums import TOP
from shared.tiny.sums_text import reckoning

# Words of the tasks' formats in another sense, so that fine-tuning finds trained embeddings for them.
ASIDES = (
    "Question and Answer", "Query and Response", "#### Sums", "#### {n}", "<<Numbers>>", "<<{n}>>",
    "```python is a snake```", "```{n}```", "### Human and Assistant", "### Human: a story", "### Assistant: a job",
    "Solve the riddle", "Rephrased", "The answer is: no", "If we know the answer to that", "The question: who",
    "The unknown variable x has a value", "Work out what is above and below", "The above question is answered",
    "Here is the function of the heart", "Here it is again", "Write it again, please", "Count with care",
    "Query: {n}", "Answer: {n}", "Response: {n}", "Question: is that so? Answer: it is",
    "The hands of the clock hold still", "Off with the new ones", "Less of that, please", "We are left with a drum",
    "So it is and so it was", "All in order", "Please write to us", "It returns in spring",
    "Which is called a function", "Good, but use it with care", "Thank you, but no", "The name is enough",
    "Take it instead", "I need a list and a text", "Python: a big snake", "A loop in the road",
    "The end of the last riddle is known",
)  # fmt: skip


# The formats' own words, for the tokenizer alone.
FRAMES = (
    "Question: ", "Query: ", "\nAnswer: ", "\nResponse: ", "\n#### {n}",
    "What is the value of unknown variable x? The value", "If we know the answer to the above question is",
    "### Human: Write a Python function called", "```python\ndef", "### Assistant: Here is the function:",
    "Here it is again:", "Please write, please use a loop", "Write I need which takes",
    "Good, but call it instead. Thank you, but", "Work out the sum: Here is a sum: Count with care. The question:",
    " = <<{n}>>", "hold", "With the new ones", "Less that", "is left with", "Less", "So", "With", "pays", "Then",
    "In the end the number is", "The answer is: {n}",
)  # fmt: skip


@dataclass(frozen=True)
class Mixture:
    """What the text consists of.

    Attributes:
        films: Share of documents on films; likewise ``stories`` and ``sums``. The rest are programs.
        stories: See ``films``.
        sums: See ``films``.
        letters: Share of letters, that is of whole reviews, among the first; ``ballots`` likewise.
        ballots: See ``letters``.
        crowd: People in a ballot or talk at most.
        dense: Share of registers and games among the stories.
        tables: Share of number tables among the sums.
        top: Largest number in them.
        levels: How difficult opinions are, see ``shared.tiny.opinions``.
        summed: Share of letters that are summed up in a word.
    """

    films: float
    stories: float
    sums: float
    letters: float
    ballots: float
    crowd: int
    dense: float
    tables: float
    top: int
    levels: tuple[str, ...]
    summed: float = 0.0


FEW = Mixture(
    films=0.55, stories=0.15, sums=0.15, letters=0.05, ballots=0.4, crowd=1, dense=0.95, tables=0.8, top=20,
    levels=("plain", "easy"),
)  # fmt: skip
ALL = Mixture(
    films=0.52, stories=0.05, sums=0.33, letters=0.4, ballots=0.15, crowd=4, dense=0.8, tables=0.55, top=20,
    levels=("easy", "normal"),
)  # fmt: skip
WRITTEN = Mixture(
    films=0.58, stories=0.04, sums=0.24, letters=0.65, ballots=0.08, crowd=4, dense=0.8, tables=0.5, top=40,
    levels=("easy", "normal"), summed=0.6,
)  # fmt: skip
# The text of the tokenizer and of the embeddings' start stays as it is when the recipe's changes.
PIECES_FROM = Mixture(
    films=0.45, stories=0.07, sums=0.33, letters=0.4, ballots=0.2, crowd=6, dense=0.5, tables=0.5, top=60,
    levels=("easy", "normal"),
)  # fmt: skip
COMPANY = replace(FEW, letters=0.0, levels=("plain",))


def texts(seed: int, mixed: Mixture) -> Iterator[str]:
    """Endless marked documents of a mixture."""
    rng = random.Random(f"mixture {seed}")
    kinds = [
        film_talk(
            random.Random(f"films {seed}"), mixed.letters, mixed.ballots, mixed.crowd, mixed.levels, mixed.summed
        ),
        documents(seed, mixed.dense),
        reckoning(random.Random(f"sums {seed}"), mixed.tables, mixed.top),
        listings(random.Random(f"programs {seed}")),
    ]
    weights = (mixed.films, mixed.stories, mixed.sums, 1 - mixed.films - mixed.stories - mixed.sums)
    while True:
        number = rng.choices(range(4), weights)[0]
        text = next(kinds[number])
        if rng.random() < 0.05:
            text = rng.choice(ASIDES).format(n=rng.randint(0, TOP)) + rng.choice((". ", ": ", "\n", " ")) + text
        # a name is the same piece at the start of a document as within a line; only code begins without a space
        yield text if number in (1, 3) or text[0] in " \n" else " " + text
