"""What decides whether an ear is done again: scans, method of registration, named series."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from medlangevin.cli.main import main
from medlangevin.imaging.cohort import preprocess as pipeline
from medlangevin.imaging.cohort.person import Outcome, Person
from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.system.errors import MedlangevinError


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch, stubbed: ModuleType) -> list[list[str]]:
    """Series hashes of the persons that are worked on, with a stand-in for the registration."""
    seen = []

    def process(person: Person, *rest: Any) -> Outcome:
        seen.append([study for study, _ in person.series])
        return stubbed.stub_person(person, *rest)

    monkeypatch.setattr(pipeline, "process_person", process)
    monkeypatch.setattr(pipeline, "Matcher", stubbed.StubMatcher)
    return seen


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, write_slice: Callable[..., Path]) -> Path:
    """Two series of one person, and a volume file."""
    raw = tmp_path_factory.mktemp("hospital")
    for number in (1, 2):
        for height in range(3):
            path = raw / f"series{number}" / f"IM{height}"
            write_slice(path, np.full((8, 8), 7, np.int16), (0, 0, height), series_uid=f"1.2.{number}")
    (raw / "named.nii.gz").write_text("")
    return raw


def test_named_series_alone_are_used_and_only_their_person_is_done_again(
    raw: Path, tmp_path: Path, worked: list[list[str]]
) -> None:
    out = tmp_path / "out"
    preprocess(raw, out)
    assert sorted(map(len, worked)) == [1, 2]
    both = max(worked, key=len)
    worked.clear()
    summary = preprocess(raw, out, series=["series2"])
    assert len(worked) == 1
    assert worked[0][0] in both
    assert [(note.folder, note.reason) for note in summary.notes] == [
        (raw / "series1", "another series of this person was named")
    ]
    # The same choice in other words is the same choice.
    worked_on = worked.pop()
    for name in ("1.2.2", worked_on[0], str(raw / "series2" / "IM1")):
        preprocess(raw, out, series=[name])
    assert worked == []
    preprocess(raw, out)
    assert worked == [both]


def test_another_method_does_every_ear_again(raw: Path, tmp_path: Path, worked: list[list[str]]) -> None:
    out = tmp_path / "out"
    preprocess(raw, out)
    worked.clear()
    preprocess(raw, out, method="block")
    assert worked == []
    preprocess(raw, out, method="correlation")
    assert len(worked) == 2


def test_a_name_that_no_series_has_is_said_before_anything_is_written(
    raw: Path, tmp_path: Path, worked: list[list[str]]
) -> None:
    with pytest.raises(MedlangevinError, match=r"no CT series in .* is named 1\.2\.3"):
        preprocess(raw, tmp_path / "out", series=["1.2.3"])
    assert list(tmp_path.iterdir()) == []
    options = ["--series", "1.2.3", "--registration", "correlation"]
    result = CliRunner().invoke(main, ["preprocess", "--raw", str(raw), "--out", str(tmp_path / "out"), *options])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
