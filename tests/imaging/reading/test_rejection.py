"""The one table of reasons."""

import ast
from pathlib import Path

from medlangevin.imaging import reading, registration
from medlangevin.imaging.reading.rejection import all_reasons


def test_every_reason_says_what_is_wrong_and_what_to_do():
    reasons = all_reasons()
    assert {"localizer", "too-coarse", "decode", "no-ear"} <= {reason.code for reason in reasons}
    assert len({reason.text for reason in reasons}) == len(reasons)
    nothing_to_do = {reason.code for reason in reasons if reason.failure and reason.advice == "nothing"}
    assert nothing_to_do == {"duplicate-volume"}


def test_no_code_is_made_up_beside_the_table():
    rooms = [Path(*room.__path__) for room in (reading, registration)]
    elsewhere = [
        f"{path.name}: {ast.unparse(node.args[0])}"
        for path in (path for room in rooms for path in room.glob("*.py") if path.name != "rejection.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason"
        if isinstance(node.args[0], ast.Constant)
    ]
    assert elsewhere == []


def test_the_text_of_one_case_keeps_code_and_advice():
    reason = all_reasons()[0]
    case = reason.with_text("this one")
    assert (case.code, case.text, case.advice, case.failure) == (reason.code, "this one", reason.advice, reason.failure)
