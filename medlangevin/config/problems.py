"""What is wrong with a configuration, in words: pydantic's errors with the nearest right key."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from medlangevin.config.schema import keys_at, what_has, without_kinds

# What one message tells; a file of another program has hundreds.
MOST_PROBLEMS, MOST_CHARACTERS = 5, 100


def explain(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problems of a configuration in one line.

    Args:
        error: What pydantic found.
        schema: The outermost section.

    Returns:
        Each problem with its key, and how many more there are.
    """
    problems = [_explain(item, schema) for item in error.errors()[:MOST_PROBLEMS]]
    more = error.error_count() - len(problems)
    return " ".join("; ".join(problems + ([f"and {more} more"] if more else [])).split())


def _explain(error: Any, schema: type[BaseModel]) -> str:
    keys = without_kinds((str(part) for part in error["loc"] if part != "[key]"), schema)
    location = [_cut(key) for key in keys]
    message, given = error["msg"].removeprefix("Value error, "), error.get("input")
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(keys, location, schema)
        case "invalid_key":
            return f"unknown key '{location[0] if location else ''}'; keys are words"
        case "missing":
            return f"key '{'.'.join(location)}' is missing"
        case "union_tag_invalid":
            discriminator = error["ctx"]["discriminator"].strip("'")
            *others, last = error["ctx"]["expected_tags"].split(", ")
            location.append(discriminator)
            message, given = f"input should be {', '.join(others)} or {last}", given[discriminator]
        case "model_type" | "model_attributes_type":
            message = "a section of keys is needed, not a value"
        case "secret":
            given = None
    shown = f" (given: {_cut(repr(given))})" if isinstance(given, (str, int, float, bool)) else ""
    what = f"{message[:1].lower()}{message[1:]}{shown}"
    return f"'{'.'.join(location)}': {what}" if location else what


def _unknown_key(keys: list[str], location: list[str], schema: type[BaseModel]) -> str:
    key = ".".join(location)
    has_it = what_has(keys, schema)
    if has_it:
        return f"'{key}' has no effect here; it goes with {has_it}"
    right = keys_at(keys[:-1], schema)
    nearest = difflib.get_close_matches(location[-1], right, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"keys here: {', '.join(right)}"
    return f"unknown key '{key}'; {hint}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
