"""Verdicts from figures alone: each doubt has its code, and no one figure can hide another."""

import numpy as np
import pytest

from medlangevin.imaging.reading.rejection import NO_EAR
from medlangevin.imaging.registration.coil_check import CoilCheck, CoilFigures
from medlangevin.imaging.registration.quality import LIMITS, Figures, Verdict, judge, refusal, with_slice_thickness
from medlangevin.imaging.registration.register import Fit


def figures(*, coverage=1.0, coil=(0.9, 0.85), mirror_ncc=0.1, step_ratio=1.1, **changes):
    fit = Fit(0.8, 0.85, False, np.eye(4), agreement_mm=0.02, residual_mm=0.2, runner_up_ncc=0.1)
    return Figures(fit._replace(**changes), mirror_ncc, CoilFigures(*coil), coverage, step_ratio)


def judged(**changes):
    return judge(figures(**changes).values)


def test_a_good_fit_is_ok_and_has_no_code():
    assert judged() == Verdict("ok", "", "")


@pytest.mark.parametrize(
    ("changes", "word", "code"),
    [
        ({"ncc": 0.1}, "failed", "low-correlation"),
        ({"coverage": 0.7}, "failed", "cut-off"),
        ({"coil": (0.3, 0.2)}, "failed", "coil-in-doubt"),
        ({"ncc": 0.4}, "review", "low-correlation"),
        ({"mirror_ncc": 0.75}, "review", "side-in-doubt"),
        ({"runner_up_ncc": 0.75}, "review", "runner-up"),
        ({"agreement_mm": 1.2}, "review", "starts-disagree"),
        ({"agreement_mm": np.inf}, "review", "starts-disagree"),
        ({"agreement_mm": np.nan}, "review", "starts-disagree"),
        ({"residual_mm": 1.5}, "review", "large-residual"),
        ({"coverage": 0.97}, "review", "cut-off"),
        ({"step_ratio": 1.4}, "review", "step-in-scan"),
        ({"step_ratio": np.nan}, "review", "step-in-scan"),
        ({"coil": (0.65, 0.62)}, "review", "coil-in-doubt"),
        ({"coil": (0.85, 0.3)}, "review", "coil-in-doubt"),
    ],
)
def test_each_figure_alone_is_enough_for_doubt(changes, word, code):
    verdict = judged(**changes)
    assert (verdict.word, verdict.code) == (word, code)
    assert verdict.why


@pytest.mark.parametrize(
    ("limit", "word"),
    [(limit, word) for limit in LIMITS for word in ("failed", "review") if limit.limit(word) is not None],
)
def test_each_limit_parts_values_on_either_side_of_it(limit, word):
    values = figures().values
    at = values["ncc"] - limit.limit(word) if limit.beyond == "near NCC" else limit.limit(word)
    kept, broken = (at + 1e-9, at - 1e-9) if limit.beyond == "below" else (at - 1e-9, at + 1e-9)
    assert not limit.is_broken(values | {limit.figure: kept}, word)
    assert limit.is_broken(values | {limit.figure: broken}, word)
    assert limit.is_broken(values | {limit.figure: np.nan}, word) is not limit.optional
    # The very value: 0.3 mm is too far apart, 0.5 of correlation is enough.
    if limit.beyond != "near NCC":
        assert limit.is_broken(values | {limit.figure: at}, word) is (limit.beyond == "from")


def test_a_method_without_blocks_is_not_doubted_for_it():
    assert judged(residual_mm=np.nan).word == "ok"


def test_several_doubts_are_all_named_and_the_gravest_gives_the_code():
    verdict = judged(mirror_ncc=0.79, agreement_mm=2.0)
    assert verdict.code == "side-in-doubt"
    assert "2.0 mm apart" in verdict.why


def test_a_figure_that_is_no_number_is_never_ok():
    assert judged(ncc=np.nan).word != "ok"
    assert judged(coil=(np.nan, np.nan)).word != "ok"
    assert judged(coverage=np.nan).word != "ok"
    assert judged(mirror_ncc=np.nan).word != "ok"
    assert judged(runner_up_ncc=np.nan).word != "ok"


def test_a_series_says_the_gravest_reason_why_it_gave_no_ear():
    nothing, cut, coil = (judged(**one) for one in ({"ncc": 0.1}, {"coverage": 0.5}, {"coil": (0.2, 0.1)}))
    assert refusal([]) == NO_EAR
    assert refusal([nothing]).code == "no-ear"
    assert refusal([nothing, cut]).code == "cut-off"
    assert refusal([coil, nothing]).code == "coil-in-doubt"


@pytest.mark.slow
def test_the_coil_is_asked_apart_from_its_surroundings(reference, warped_reference):
    scan = warped_reference(np.eye(4))
    check = CoilCheck(reference)
    assert check.figures(scan, np.eye(4)).weakest_ncc > 0.95
    # Bone where the turns are: all else is as it was.
    filled = scan[:]
    points = np.array([scan.TransformIndexToPhysicalPoint(i) for i in np.ndindex(scan.GetSize())])
    near = np.linalg.norm(points - (0.0, 0.0, 0.0), axis=1) < 4.0
    for index in np.array(list(np.ndindex(scan.GetSize())))[near]:
        filled[index.tolist()] = 2000
    assert check.figures(filled, np.eye(4)).ncc < 0.3
    assert check.crop_ncc(filled, np.eye(4)) > 0.6


def test_a_coil_outside_the_scan_has_no_correlation(reference, warped_reference):
    scan = warped_reference(np.eye(4))[:, :, :30]
    assert CoilCheck(reference).figures(scan, np.eye(4)) == CoilFigures(-1.0, -1.0)


def test_thick_slices_add_to_a_doubt_and_save_no_failed_ear():
    doubtful, failed = judged(agreement_mm=1.2), judged(coverage=0.5)
    assert with_slice_thickness(failed, 2.0) == failed
    both = with_slice_thickness(doubtful, 2.0)
    assert (both.word, both.code) == ("review", "starts-disagree")
    assert "apart; slices of 2 mm" in both.why
