"""How many responses ``sft.max_length`` cuts off, counted in tokens as TRL's SFTTrainer prepares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

AT_ONCE = 1000  # rows that are tokenised together
SERIOUS = 0.1  # with a larger share of rows without a response, a run is hardly what was intended


@dataclass(frozen=True)
class ResponseLengths:
    """What is left of the responses within the longest sequence.

    Attributes:
        rows: How many rows were looked at.
        lost: Of how many the response is cut off entirely; nothing is learnt from these.
        ended: Of how many the end is cut off: the response's last tokens and the end token.
        longest_prompt: The longest prompt [tokens].
        longest_row: The longest row, with its end token [tokens].
        limit: ``sft.max_length`` [tokens]; None: nothing is cut.
    """

    rows: int
    lost: int
    ended: int
    longest_prompt: int
    longest_row: int
    limit: int | None

    @property
    def share(self) -> float:
        """The share of rows whose response is cut off entirely [0–1]."""
        return self.lost / self.rows if self.rows else 0.0

    @property
    def is_serious(self) -> bool:
        """Whether so many responses are lost that a warning is due."""
        return self.share > SERIOUS

    def __str__(self) -> str:
        return (
            f"the response of {self.lost} of {self.rows} rows ({self.share:.0%}) is cut off entirely: their prompts "
            f"have {self.limit} tokens or more, the longest {self.longest_prompt}"
        )

    def fix(self, key: str = "max_length") -> str:
        """What to write instead."""
        enough, longest = 2 ** self.longest_prompt.bit_length(), self.longest_prompt
        return f"write {key}: {enough} or so (the longest prompt has {longest} tokens), or set dataset.max_words"


def response_lengths(pairs: Dataset, tokenizer: Any, sft: Any) -> ResponseLengths:
    """Measure rows of prompt and completion.

    Args:
        pairs: As :func:`shared.finetune.data.prompts.to_prompt_completion` gives them.
        tokenizer: The tokenizer.
        sft: ``config.sft``: the longest sequence, and how rows are packed.
    """
    limit, lost, ended, longest_prompt, longest_row = _limit(sft), 0, 0, 0, 0
    for prompt, size in _sizes(pairs, tokenizer):
        longest_prompt, longest_row = max(longest_prompt, prompt), max(longest_row, size)
        lost += limit is not None and prompt >= limit
        ended += limit is not None and size > limit
    return ResponseLengths(len(pairs), lost, ended - lost, longest_prompt, longest_row, limit)


def check_lengths(found: ResponseLengths, sft: Any) -> None:
    """Refuse a run in which every response would be cut off.

    Raises:
        DataError: With the longest prompt and the value to write.
    """
    if found.rows and found.lost == found.rows and sft.completion_only_loss is not False:
        raise DataError(f"sft.max_length: {found}; nothing would be left to learn from", fix=found.fix())


def _limit(sft: Any) -> int | None:
    """The tokens after which a row is cut; None where nothing is: these kinds of packing go on in the next sequence."""
    splits = sft.packing and sft.packing_strategy in ("wrapped", "bfd_split")
    return None if splits else sft.max_length


def _sizes(pairs: Dataset, tokenizer: Any) -> Iterator[tuple[int, int]]:
    """Tokens of each prompt, and of each whole row with its end token."""
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        prompts = tokenizer(part["prompt"])["input_ids"]
        texts = [prompt + completion for prompt, completion in zip(part["prompt"], part["completion"], strict=True)]
        for prompt, whole in zip(prompts, tokenizer(texts)["input_ids"], strict=True):
            same = next((n for n, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
            yield same, len(whole) + (whole[-1:] != [tokenizer.eos_token_id])
