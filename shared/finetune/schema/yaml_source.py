"""YAML files read with line numbers, by the rules of YAML 1.2.

PyYAML follows YAML 1.1, in which ``2e-4`` is a string and ``no`` is False. A configuration often contains both
(``learning_rate: 2e-4``, ``eval_strategy: no``), so scalars are resolved by YAML 1.2's core schema here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shared.finetune.schema.problems import Problem

SECRETS = ("use_auth_token", "hub_token", "push_to_hub_token")  # their values are never shown
Path_ = tuple  # a key's path: ("training", "learning_rate") or ("peft", "target_modules", 0)


class Yaml12Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2: true/false only, 2e-4 is a number, no dates, no base 60."""


Yaml12Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.")),
    ("merge", r"^<<$", ["<"]),
):
    Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
# YAML 1.1 would read 010 as octal 8
Yaml12Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))


@dataclass
class Source:
    """A configuration's raw values and their lines.

    Attributes:
        file: The file, as named by the user.
        data: The plain values (dicts, lists, scalars).
        lines: Line [from 1] of each key, by its path; 0 for values from the command line.
        problems: Problems found while reading: syntax, duplicate keys.
    """

    file: str
    data: Any = None
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path_) -> int:
        """The line of a key, or of the nearest enclosing key if it is missing."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path_, message: str, fix: str = "", value: Any = ...) -> Problem:
        """A problem at a key, with its line and value."""
        shown = self.get(path) if value is ... else value
        if path and path[-1] in SECRETS and isinstance(shown, str):
            shown = "(hidden)"
        return Problem(self.file, self.line(path), dotted(path), shown, message, fix)

    def get(self, path: Path_, default: Any = None) -> Any:
        """The raw value at a path, or the default."""
        here = self.data
        for step in path:
            if isinstance(here, dict) and step in here:
                here = here[step]
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            else:
                return default
        return here


def dotted(path: Path_) -> str:
    """``("peft", "target_modules", 0)`` -> ``peft.target_modules[0]``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else str(step))
    return text or "(whole file)"


def section_of(source: Source, *path: str) -> dict:
    """The mapping at a path; empty if there is none."""
    found = source.get(path)
    return found if isinstance(found, dict) else {}


def read_source(file: str | Path) -> Source:
    """Read a YAML file with its lines.

    Args:
        file: The file.

    Returns:
        The source; if the file can't be read, ``data`` is None and ``problems`` contains the reason.
    """
    source = Source(str(file))
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"it can't be read ({error})"
        source.problems.append(Problem(str(file), 1, "(whole file)", None, why, _files_beside(Path(file))))
        return source
    return parse_source(text, str(file))


def parse_source(text: str, file: str = "<text>") -> Source:
    """Read YAML text; see :func:`read_source`."""
    source = Source(file)
    loader = Yaml12Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            source.lines[()] = node.start_mark.line + 1
            for path, line, first in _duplicates_and_lines(node, (), source.lines):
                source.problems.append(
                    Problem(
                        file,
                        line,
                        dotted(path),
                        None,
                        f"duplicate key (also in line {first})",
                        "keep one of the two",
                    )
                )
            source.data = loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        fix = (
            "indent with spaces, not with tabs"
            if "'\\t'" in str(error)
            else "keep one document: remove the line ---"
            if "another document" in str(error)
            else ("check indentation, quotes and colons in this line; a value with ': ' or '#' needs quotes")
        )
        source.problems.append(
            Problem(file, mark.line + 1 if mark else 1, "(syntax)", None, f"not YAML: {problem}", fix)
        )
    finally:
        loader.dispose()
    return source


def apply_override(source: Source, text: str) -> None:
    """Set one value from the command line, ``training.learning_rate=2e-4``.

    Args:
        source: Changed in place; a malformed override is added to its problems.
        text: ``dotted.key=value``; the value is read as YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        source.problems.append(
            Problem(source.file, 0, text, None, "not an override", "write key=value, for example training.max_steps=10")
        )
        return
    path = tuple(key.strip().split("."))
    here = source.data if isinstance(source.data, dict) else {}
    source.data = here
    for step in path[:-1]:
        if not isinstance(here.get(step), dict):
            here[step] = {}
        here = here[step]
    try:
        read = yaml.load(value, Yaml12Loader)  # noqa: S506 - a SafeLoader subclass
        # "###" would be a comment in a file; on the command line it is a string
        here[path[-1]] = value if read is None and value.strip().startswith("#") else read
    except yaml.YAMLError as error:
        source.problems.append(Problem(source.file, 0, key, value, f"the value is not YAML: {error}", "quote it"))
    source.lines[path] = 0


def _duplicates_and_lines(node: yaml.Node, path: Path_, lines: dict) -> Iterator[tuple[Path_, int, int]]:
    """Walk a node tree: fill ``lines``, yield (path, line, first line) of each duplicate key."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = key.value, key.start_mark.line + 1
            if name in seen and name != "<<":
                yield (*path, name), line, seen[name]
            seen.setdefault(name, line)
            lines[(*path, name)] = line
            yield from _duplicates_and_lines(value, (*path, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            yield from _duplicates_and_lines(item, (*path, number), lines)


def _files_beside(file: Path) -> str:
    beside = sorted(p.name for p in file.parent.glob("*.y*ml"))[:8] if file.parent.is_dir() else []
    return f"in that folder: {', '.join(beside)}" if beside else "check the path"
