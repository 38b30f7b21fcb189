"""Chats: a column of messages, made prompts and completions by the tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import DataError

if TYPE_CHECKING:
    from shared.finetune.schema.sections import DatasetSection

Message = dict[str, Any]
EXAMPLE = '[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]'


def chat_field(dataset: DatasetSection) -> str | None:
    """The column of messages; None where a template or a marker makes the prompts."""
    if dataset.prompt_template or dataset.response_marker:
        return None
    return dataset.messages_field or "messages"


def messages_of(row: Mapping[str, Any], dataset: DatasetSection, where: str) -> list[Message]:
    """The messages of a row.

    Args:
        row: The row; its column of messages is there.
        dataset: The ``dataset:`` section.
        where: What to call the row in a message.

    Raises:
        DataError: If they are not messages with a role and a text.
    """
    field = chat_field(dataset)
    found = row[field]
    if not isinstance(found, list) or not found or not all(map(_is_message, found)):
        raise DataError(
            f"{where}: {field} is not a list of messages, each with a role and a text as content",
            fix=f"write {EXAMPLE}; rename the keys from and value, where the data have these",
        )
    # a table has every key in every message: what this one lacks is None there, and no template expects that
    return [{key: value for key, value in one.items() if value is not None} for one in found]


def chat_pairs(messages: Sequence[Message], tokenizer: Any, where: str, every: bool = False) -> list[tuple[str, str]]:
    """The last answer of a chat as (prompt, completion), or every one.

    The prompt is all that stands before the answer, with the template's opening of an answer; the completion is what
    the template makes of the answer, its end included.

    Args:
        messages: As :func:`messages_of` gives them.
        tokenizer: The tokenizer with the chat template.
        where: What to call the row in a message.
        every: Whether each answer is an example of its own.

    Raises:
        DataError: If there is no answer, or the template does not render the chat.
    """
    places = _answers(messages, where)
    return [_pair(messages[: place + 1], tokenizer, where) for place in (places if every else places[-1:])]


def last_answer(messages: Sequence[Message], where: str) -> str:
    """The text of a chat's last answer."""
    return messages[_answers(messages, where)[-1]]["content"]


def chat_prompt(messages: Sequence[Message], tokenizer: Any, where: str) -> str:
    """A chat as a prompt for the next answer; an answer that it ends in is left out."""
    asked = messages[:-1] if messages[-1]["role"] == "assistant" else messages
    return _render(asked, tokenizer, where, add_generation_prompt=True)


def plain(completion: str, tokenizer: Any) -> str:
    """A completion as a generated answer would show it: without special tokens, stripped."""
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def _is_message(one: Any) -> bool:
    return isinstance(one, Mapping) and all(isinstance(one.get(key), str) for key in ("role", "content"))


def _answers(messages: Sequence[Message], where: str) -> list[int]:
    """The places of the assistant's turns that answer something: a greeting that opens the chat does not."""
    roles = [one["role"] for one in messages]
    places = [n for n, role in enumerate(roles) if role == "assistant" and set(roles[:n]) - {"system", "assistant"}]
    if not places:
        raise DataError(
            f"{where}: no message of the role assistant answers one of the role user; the roles are {', '.join(roles)}",
            fix=f"rename the roles or remove the row; a chat looks like {EXAMPLE}",
        )
    for place in places:
        if not messages[place]["content"].strip():
            raise DataError(f"{where}: message {place + 1}, an answer, is empty", fix="remove the row or the turn")
    return places


def _pair(messages: Sequence[Message], tokenizer: Any, where: str) -> tuple[str, str]:
    prompt = _render(messages[:-1], tokenizer, where, add_generation_prompt=True)
    whole = _render(messages, tokenizer, where)
    if not whole.startswith(prompt):
        raise DataError(
            f"{where}: the chat template opens an answer in training otherwise than in use: {prompt[-40:]!r} does not "
            "stand before the answer",
            fix="choose a model whose template does, or text columns with dataset.prompt_template",
        )
    completion, end = whole[len(prompt) :], tokenizer.eos_token
    # TRL appends the end token to what does not end in it, and the line break that many templates put after it is
    # never generated: the answer has ended
    return prompt, completion.rstrip() if end and completion.rstrip().endswith(end) else completion


def _render(messages: Sequence[Message], tokenizer: Any, where: str, **options: Any) -> str:
    from jinja2 import TemplateError

    if tokenizer is None:
        raise DataError(f"{where}: chats are rendered by the tokenizer", fix="pass the tokenizer as well")
    if not tokenizer.chat_template:
        raise DataError(
            f"{where}: the tokenizer of {tokenizer.name_or_path} has no chat template to render messages with",
            fix="choose an instruct or chat model, put a chat_template.jinja into the model's folder, or use text "
            "columns with dataset.prompt_template",
        )
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
    except TemplateError as error:
        roles = ", ".join(one["role"] for one in messages)
        raise DataError(
            f"{where}: the chat template refuses the messages (roles {roles}): {error}", fix="change or remove the row"
        ) from error
    begin = tokenizer.bos_token
    # many templates write the begin token themselves; tokenising the text would put a second one before it
    doubled = begin and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(begin) if doubled else text
