"""pydantic's errors as problems with line, key and fix."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ValidationError

from shared.finetune.common.suggestions import did_you_mean
from shared.finetune.methods import METHODS
from shared.finetune.schema.key_lookup import required_in, sections_with, unknown_key_fix
from shared.finetune.schema.problems import Problem
from shared.finetune.schema.yaml_source import Source, dotted


def problems_of(error: ValidationError, source: Source, schema: type[BaseModel]) -> list[Problem]:
    """One problem for each key that pydantic refuses.

    Args:
        error: pydantic's error; for a union it has an item for each branch.
        source: The raw values with their lines.
        schema: The class that was validated.
    """
    problems: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        problem = _problem(item, source, schema)
        other = problems.get(problem.key)
        if other is not None and other.message != problem.message:  # another branch of a union
            more = problem.message.removeprefix("should be ")
            fix = other.fix or problem.fix
            problem = Problem(problem.file, problem.line, problem.key, problem.value, f"{other.message} or {more}", fix)
        problems[problem.key] = problem
    # a list of strings or one string: if an item is wrong, the list as a whole is not reported
    return [one for key, one in problems.items() if not any(other.startswith(f"{key}[") for other in problems)]


BRANCHES = ("int", "float", "str", "bool", "dict", "list")  # pydantic's names; no key of the schema has one of them


def source_path(loc: tuple, source: Source) -> tuple:
    """pydantic's location without the parts that are not in the YAML (union tags and type names).

    Args:
        loc: ``error["loc"]``.
        source: The raw values.
    """
    path: tuple = ()
    for step in loc:
        here = source.get(path)
        if isinstance(here, dict) and step not in here and step in METHODS and path == ("peft",):
            continue
        if isinstance(here, list) and not isinstance(step, int):
            continue
        if path and not isinstance(here, (dict, list)):
            continue  # the branch of a union, for example "int" below a value that is a string
        if isinstance(here, dict) and step not in here and (step in BRANCHES or "[" in str(step)):
            continue  # the same below a mapping
        path = (*path, step)
    return path


def _problem(item: Any, source: Source, schema: type[BaseModel]) -> Problem:
    path = source_path(item["loc"], source)
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return source.problem(path, "unknown key", unknown_key_fix(path, source, schema))
    if kind in ("missing", "union_tag_not_found"):
        path = (*path, "method") if kind == "union_tag_not_found" else path
        return source.problem(path, "is missing", _missing_fix(path, schema), value=None)
    if kind == "union_tag_invalid":
        fix = did_you_mean(str(context.get("tag")), METHODS)
        return source.problem((*path, "method"), "there is no such method", fix)
    if kind == "literal_error":
        known = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return source.problem(path, "not one of the known values", did_you_mean(item["input"], known))
    return source.problem(path, _plain(item["msg"]), _fix(kind, item["input"], path, context))


def _missing_fix(path: tuple, schema: type[BaseModel]) -> str:
    what = "one of " + ", ".join(METHODS) if path[-1] == "method" else ""
    for name, field in [] if what else sections_with(path[-1], schema):
        if name == ".".join(map(str, path[:-1])):
            what = (field.description or "").rstrip(".")
            if inside := required_in(field):
                return f"add the section {path[-1]}: with at least {inside}; it is {what[0].lower()}{what[1:]}"
    return f"add {path[-1]}: … here; it is {what or dotted(path)}"


def _plain(message: str) -> str:
    message = message.replace("Input should be", "should be").partition(" or instance of")[0]
    return message.replace("a valid dictionary", "a mapping (key: value)")


LIMITS = {
    "greater_than": ("gt", "more than {}"),
    "greater_than_equal": ("ge", "{} or more"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "{} or less"),
}


def _fix(kind: str, value: Any, path: tuple, context: dict) -> str:
    key = path[-1]
    if kind in LIMITS:
        name, words = LIMITS[kind]
        return f"write {words.format(f'{context[name]:g}')}"
    if isinstance(value, str) and value.lower() == "none":
        return f"write {key}: null"
    if isinstance(value, str) and kind in ("float_type", "int_type"):
        return _number_fix(value, key)
    if kind == "bool_type":
        return f"write {key}: true or {key}: false"
    if kind == "int_type" and isinstance(value, float) and math.isfinite(value):
        return f"write a whole number, for example {int(value)}"
    if kind in ("float_type", "int_type"):
        return f"write one number: {key}: 1"
    if kind in ("list_type", "too_short", "too_long"):
        return (
            f"write a list: [{value if isinstance(value, str) else '…'}]"
            if kind == "list_type"
            else "change its length"
        )
    if kind == "string_type":
        return f'write a text: "{value}"' if value is not None else f"write a text after {key}:, or remove the line"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return "write its keys indented on the lines below" + (", or remove the line" if value is None else "")
    return "change the value accordingly"


def _number_fix(value: str, key: Any) -> str:
    text = value.strip().rstrip(",").replace("_", "")
    share = text.endswith("%")
    try:
        number = float(text.rstrip("%"))
    except ValueError:
        return f"write a number: {key}: 1"
    return f"write the number without quotes: {key}: {number / 100:g}" if share else f"write {_bare(value, text, key)}"


def _bare(value: str, text: str, key: Any) -> str:
    return f"the number without quotes: {key}: {value}" if value == text else f"a plain number: {key}: {text}"
