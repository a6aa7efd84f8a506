"""From the series of one person to records: which series is taken, what failed and why, what the picture says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from medlangevin.cochlear_frame import CROP_CENTRE_LPS
from medlangevin.imaging.cohort import person as person_module
from medlangevin.imaging.cohort.person import Person, Volume, process_person
from medlangevin.imaging.cohort.qc_figure import save_qc_figure, sides_at_edges
from medlangevin.imaging.cohort.series_choice import RankedEar, why_better
from medlangevin.imaging.cohort.summary import PreprocessSummary, describe
from medlangevin.imaging.reading.ingest import Series, ingest
from medlangevin.imaging.reading.rejection import FITTED_TO_TEMPLATE, MISSING_SLICE, SHARED_IDS, Reason
from medlangevin.imaging.registration.coil_check import CoilFigures
from medlangevin.imaging.registration.find_ears import FoundEar, find_ears
from medlangevin.imaging.registration.localise import pose_matrix
from medlangevin.imaging.registration.quality import Figures, Verdict, Word
from medlangevin.imaging.registration.reference import Reference
from medlangevin.imaging.registration.register import Fit, Matcher
from medlangevin.system.files import read_json, write_json


def motion(*, left: bool = False) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.1, -0.1, 0.15]).as_matrix() @ np.diag([-1 if left else 1, 1, 1])
    matrix[:3, 3] = (20.0, -30.0, 40.0)
    return matrix


def found(word: Word = "ok", *, ncc: float = 0.8, mirrored: bool = False) -> FoundEar:
    fit = Fit(ncc, 0.8, mirrored, pose_matrix(np.eye(3), np.zeros(3), mirrored), 0.02, np.nan, 0.1)
    return FoundEar(Figures(fit, 0.1, CoilFigures(0.9, 0.8), 1.0), Verdict(word, "", "" if word == "ok" else "cut-off"))


@pytest.fixture(scope="module")
def matcher(reference: Reference) -> Matcher:
    return Matcher(reference)


@pytest.fixture
def two_series(monkeypatch: pytest.MonkeyPatch, warped_reference: Callable[..., sitk.Image]) -> Callable[..., Person]:
    """Series named by their hash; what is found in each is set by the test, nothing is registered."""
    scan = warped_reference(np.eye(4))
    known: dict[int, list[FoundEar]] = {}

    def person(*ears: Any) -> Person:
        series: list[tuple[str, Any]] = []
        for number, (sharpness, spacing, ear, *thickness) in enumerate(ears):
            image = sitk.Image(scan)
            image.SetSpacing([spacing] * 3)
            one = _Stub(sharpness, image, *thickness)
            known[id(image)] = ear
            series.append((f"series{number}", one))
        return Person("abc", "in", tuple(series), {})

    monkeypatch.setattr(person_module, "volumes", lambda series: series.volumes)
    monkeypatch.setattr(person_module, "find_ears", lambda image, _: known[id(image)])
    return person


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records alone: drawing an ear takes a second."""
    monkeypatch.setattr("medlangevin.imaging.cohort.ear_files.save_qc_figure", lambda *_: None)


class _Stub:
    def __init__(self, sharpness: int, image: sitk.Image, thickness_mm: float = 0.0) -> None:
        self.sharpness, self.image, self.thickness_mm = sharpness, image, thickness_mm
        self.study_uid = ""
        self.volumes = [Volume(image)]
        self.doubts: tuple[Reason, ...] = ()


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("first", "second", "taken", "because"),
    [
        ((0, 0.3, [found()]), (2, 0.5, [found()]), "series1", "sharper"),
        ((1, 0.5, [found()]), (1, 0.3, [found()]), "series1", "finer"),
        ((1, 0.3, [found(ncc=0.82)]), (1, 0.3, [found(ncc=0.8)]), "series0", "fits the reference better"),
        ((2, 0.3, [found("review")]), (0, 0.5, [found()]), "series1", "trusted more"),
        ((1, 0.3, [found()]), (1, 0.3, [found()]), "series0", "comes first"),
        ((1, 0.3, [found()], 0.6), (1, 0.4, [found()], 0.4), "series1", "finer"),
        ((2, 0.3, [found()], 1.0), (0, 0.5, [found()], 0.5), "series1", "trusted more"),
    ],
)
def test_the_series_taken_and_why_are_noted(
    two_series: Callable[..., Person],
    tmp_path: Path,
    matcher: Matcher,
    first: tuple[Any, ...],
    second: tuple[Any, ...],
    taken: str,
    because: str,
) -> None:
    outcome = process_person(two_series(first, second), tmp_path, matcher)
    assert [ear["series"] for ear in outcome.ears] == [taken]
    (note,) = outcome.notes
    assert note["code"] == "same-ear"
    assert note["study"] != taken
    assert taken in note["reason"]
    assert because in note["reason"]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("thickness", "word", "code"), [(0.0, "ok", ""), (0.7, "ok", ""), (0.8, "review", "thick-slices")]
)
def test_thick_slices_however_near_are_to_be_reviewed(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher, thickness: float, word: str, code: str
) -> None:
    (ear,) = process_person(two_series((1, 0.3, [found()], thickness)), tmp_path, matcher).ears
    assert (ear["verdict"], ear["code"]) == (word, code)
    assert ("slices of 0.8 mm" in ear["why"]) == (word == "review")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("height_mm", "word"), [(0.0, "review"), (4.0, "review"), (-4.0, "review"), (14.0, "ok")])
def test_acquisitions_that_join_in_the_crop_are_to_be_reviewed(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher, height_mm: float, word: str
) -> None:
    person = two_series((1, 0.3, [found()]))
    stub: Any = person.series[0][1]
    centre = np.add(CROP_CENTRE_LPS, (30.0, 30.0, height_mm)).tolist()
    stub.volumes = [Volume(stub.image, seams=(tuple(centre),))]
    (ear,) = process_person(person, tmp_path, matcher).ears
    assert (ear["verdict"], ear["code"]) == (word, "acquisitions-join" if word == "review" else "")
    assert ("acquisitions" in ear["why"]) == (word == "review")


@pytest.mark.usefixtures("no_pictures")
def test_what_the_header_leaves_in_doubt_is_to_be_reviewed(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    person = two_series((1, 0.3, [found()]))
    stub: Any = person.series[0][1]
    stub.volumes = [Volume(stub.image, doubts=(FITTED_TO_TEMPLATE,))]
    (ear,) = process_person(person, tmp_path, matcher).ears
    assert (ear["verdict"], ear["code"]) == ("review", "template-space")
    assert FITTED_TO_TEMPLATE.text in ear["why"]


@pytest.mark.usefixtures("no_pictures")
def test_of_two_acquisitions_of_an_ear_one_is_taken_and_it_is_said(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    person = two_series((1, 0.3, [found(ncc=0.8)]))
    stub: Any = person.series[0][1]
    stub.volumes = [Volume(stub.image), Volume(stub.image)]
    outcome = process_person(person, tmp_path, matcher)
    assert len(outcome.ears) == 1
    (note,) = outcome.notes
    assert "another volume of the same series" in note["reason"]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("ears", [[], [found("failed")]])
def test_missing_slices_are_the_reason_where_no_ear_is_left(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher, ears: list[FoundEar]
) -> None:
    person = two_series((1, 0.3, ears))
    stub: Any = person.series[0][1]
    gap = MISSING_SLICE.with_text("5 slices missing")
    stub.volumes = [Volume(stub.image, gap=gap), Volume(stub.image, gap=gap)]
    (row,) = process_person(person, tmp_path, matcher).failures
    assert row["code"] == "missing-slice"
    assert row["reason"].startswith("5 slices missing")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("studies", "noted"), [(["1", "2", "3", "4", "4"], False), (["1", "2", "3", "4", "5"], True)])
def test_many_studies_of_one_id_are_noted(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher, studies: list[str], noted: bool
) -> None:
    """They may be several people's, to whom an anonymiser gave one id and one birth date."""
    person = two_series(*[(1, 0.3, [found()])] * 5)
    series: list[Any] = [series for _, series in person.series]
    for one, study in zip(series, studies, strict=True):
        one.study_uid = study
    codes = [note["code"] for note in process_person(person, tmp_path, matcher).notes]
    assert codes.count("many-studies") == noted
    assert codes.count("same-ear") == 4


@pytest.mark.usefixtures("no_pictures")
def test_doubts_whose_a_series_is_are_noted(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    person = two_series((1, 0.3, [found()]), (1, 0.3, [found()]))
    one: Any = person.series[0][1]
    one.doubts = (SHARED_IDS,)
    outcome = process_person(person, tmp_path, matcher)
    assert [note["code"] for note in outcome.notes] == ["shared-ids", "same-ear"]
    told = describe(PreprocessSummary(tmp_path, {person.subject: outcome}, by_study=3)).splitlines()
    assert any(line.startswith("note     ") and SHARED_IDS.told in line for line in told)
    assert "note     3 studies have no birth date (or 1900 and before): each study is taken for a person" in told


def test_an_ear_that_failed_is_a_record_with_a_picture_and_no_crop(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    ears = [found(), found("failed", mirrored=True)]
    outcome = process_person(two_series((1, 0.3, ears)), tmp_path, matcher)
    assert [(ear["side"], ear["verdict"]) for ear in outcome.ears] == [("R", "ok")]
    assert [(ear["side"], ear["verdict"], ear["code"]) for ear in outcome.failed] == [("L", "failed", "cut-off")]
    assert outcome.failures == []
    assert (tmp_path / "qc" / "sub-abc_side-L_failed.png").is_file()
    assert not list((tmp_path / "crops").glob("*side-L*"))
    write_json(tmp_path / "record.json", outcome.failed)
    assert read_json(tmp_path / "record.json")[0]["residual_mm"] is None


def test_an_ear_that_failed_in_one_series_and_not_in_another_did_not_fail(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    outcome = process_person(two_series((2, 0.3, [found("failed")]), (0, 0.5, [found()])), tmp_path, matcher)
    assert [ear["series"] for ear in outcome.ears] == ["series1"]
    assert outcome.failed == []
    assert [row["code"] for row in outcome.failures] == ["cut-off"]


def test_a_scan_without_any_ear_is_a_failure_of_the_scan(
    two_series: Callable[..., Person], tmp_path: Path, matcher: Matcher
) -> None:
    nothing = found("failed", ncc=0.1)._replace(verdict=Verdict("failed", "too low", "low-correlation"))
    outcome = process_person(two_series((1, 0.3, [nothing])), tmp_path, matcher)
    assert outcome.ears == outcome.failed == []
    assert [row["code"] for row in outcome.failures] == ["no-ear"]


@pytest.mark.slow
def test_a_scan_cut_through_the_cochlea_fails_as_cut_off(
    matcher: Matcher, warped_reference: Callable[..., sitk.Image]
) -> None:
    scan = warped_reference(motion(left=True))
    # It ends 1 mm beyond the lumen's middle: most of the canals is gone, and with them what the search looks for.
    middle = scan.TransformPhysicalPointToIndex(motion(left=True)[:3, 3].tolist())
    best = find_ears(scan[:, :, : middle[2] + 3], matcher)[0]
    assert (best.verdict.word, best.verdict.code) == ("failed", "cut-off")
    assert best.fit.mirrored
    assert np.linalg.norm(best.fit.matrix[:3, 3] - motion(left=True)[:3, 3]) < 1.0


@pytest.mark.slow
def test_an_ear_in_two_blocks_that_join_with_a_step_is_to_be_reviewed(
    matcher: Matcher, warped_reference: Callable[..., sitk.Image]
) -> None:
    scan = warped_reference(motion())
    assert find_ears(scan, matcher)[0].verdict.word == "ok"
    # The lower and the upper third of the cochlea are 1.2 mm nearer to each other than they were.
    middle = scan.TransformPhysicalPointToIndex(motion()[:3, 3].tolist())[2]
    values = sitk.GetArrayFromImage(scan)
    stepped = sitk.GetImageFromArray(np.concatenate([values[: middle + 3], values[middle + 7 :]]))
    stepped.SetOrigin(scan.GetOrigin())
    stepped.SetSpacing(scan.GetSpacing())
    verdict = find_ears(stepped, matcher)[0].verdict
    assert verdict.word != "ok"
    assert "join with a step" in verdict.why


def test_the_mirror_hypothesis_is_asked_at_the_place_of_each_ear_of_a_head(
    matcher: Matcher, warped_reference: Callable[..., sitk.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = Fit(0.9, 0.9, False, np.eye(4), 0.01, np.nan, 0.0)
    other = ear._replace(mirrored=True, matrix=pose_matrix(np.eye(3), np.array([70.0, 0.0, 0.0]), True))
    asked = []

    def mirrored_ncc(scan: sitk.Image, fit: Fit) -> float:
        asked.append((scan.GetSize(), fit))
        return 0.85

    monkeypatch.setattr(matcher, "fits", lambda scan: [ear, other])
    monkeypatch.setattr(matcher, "mirrored_ncc", mirrored_ncc)
    scan = sitk.ConstantPad(warped_reference(np.eye(4)), [40] * 3, [40] * 3, 0.0)
    first, *_ = find_ears(scan, matcher)
    size, fit = asked[0]
    assert fit is ear
    # Not in the whole scan, where the other ear would win again.
    assert np.prod(size) < np.prod(scan.GetSize())
    assert first.figures.mirror_ncc == 0.85
    assert first.verdict.code == "side-in-doubt"


def test_patient_sides_in_the_picture_of_a_right_and_a_mirrored_left_ear() -> None:
    # x of the frame runs medially, to the right of the picture: towards a right ear's left, a left ear's right.
    assert sides_at_edges(False) == ("R", "L")
    assert sides_at_edges(True) == ("L", "R")


@pytest.mark.parametrize(("word", "mirrored"), [("ok", True), ("review", False), ("failed", True)])
def test_the_picture_says_verdict_side_and_that_a_left_ear_is_mirrored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reference: Reference, mirrored: bool, word: Word
) -> None:
    texts: list[str] = []
    original = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        texts.extend(item.get_text() for item in [*self.texts, *[t for axis in self.axes for t in axis.texts]])
        texts.append(self.get_suptitle())
        original(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    image = reference.image
    ear = found(word, mirrored=mirrored)
    save_qc_figure(tmp_path / "a.png", image, image, reference, "abc", ear)
    assert word in texts
    assert texts.count("L") == texts.count("R") == 4
    assert any(("LEFT ear, shown mirrored" if mirrored else "RIGHT ear") in text for text in texts)


def test_sharper_kernels_win_over_thinner_slices() -> None:
    bone, soft = RankedEar(found(), 2, 0.6), RankedEar(found(), 0, 0.3)
    assert bone.rank < soft.rank
    assert "kernel" in why_better(bone, soft)


def test_volumes_of_a_file_are_read(tmp_path: Path, warped_reference: Callable[..., sitk.Image]) -> None:
    sitk.WriteImage(warped_reference(np.eye(4)), str(tmp_path / "ear.nii.gz"))
    (series,) = ingest(tmp_path).series
    assert isinstance(series, Series)
    (volume,) = person_module.volumes(series)
    assert volume.image.GetSize() == (84, 84, 84)
    assert volume.tilt_deg == 0.0
    assert volume.doubts == ()
