"""What status.json says of a person goes into file names and the page: only what preprocess would write is taken."""

import copy
from dataclasses import asdict
from typing import Any

import pytest

from medlangevin.imaging.cohort.outcome_record import read_outcome
from medlangevin.imaging.cohort.person import Outcome

ROW = {"study": "a", "code": "b", "reason": "c", "what_to_do": "d"}
EAR: dict[str, Any] = {
    **{"subject": "0123456789", "side": "L", "series": "s", "verdict": "ok", "code": "", "why": "", "ncc": 0.9},
    **{"agreement_mm": None, "coverage": 1, "sha256": "ab"},
}
SOUND = asdict(Outcome("0123456789", "inputs", [EAR], [ROW], [ROW], [{**EAR, "side": "R", "verdict": "failed"}]))


def test_what_was_written_is_read_back() -> None:
    assert asdict(read_outcome(copy.deepcopy(SOUND))) == SOUND


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("ears", "side", "../../../etc/passwd"),
        ("ears", "subject", "<script>"),
        ("ears", "verdict", "<script>"),
        ("ears", "why", None),
        ("ears", "ncc", "0.9"),
        ("ears", "ncc", None),
        ("ears", "coverage", []),
        ("ears", "sha256", 1),
        ("failed", "side", "X"),
        ("failures", "reason", 1),
        ("notes", "what_to_do", None),
        (None, "subject", "../x"),
        (None, "inputs", None),
        (None, "ears", {}),
        (None, "ears", ["x"]),
        (None, "surplus", 1),
    ],
)
def test_what_preprocess_would_not_write_is_refused(part: str | None, key: str, value: Any) -> None:
    record: Any = copy.deepcopy(SOUND)
    (record[part][0] if part else record)[key] = value
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        read_outcome(record)
