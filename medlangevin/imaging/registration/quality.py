"""Whether to trust an ear: ``ok``, ``review`` or ``failed``, from figures that do not need the truth."""

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from medlangevin.imaging.reading.rejection import COIL_IN_DOUBT, CUT_OFF, NO_EAR, Doubt, Reason
from medlangevin.imaging.registration.coil_check import CoilFigures
from medlangevin.imaging.registration.register import Fit

# Limits were chosen on the phantom's cases of benchmarks/validation/trust.py, about half-way between right fits and
# wrong ones, and tested on scans of other ears. Correlations of the registration (Fit) are squared, the coil's are not.
NCC_FAILED = 0.3
COVERAGE_FAILED = 0.9
# Sound scans reach 1.18 (38, simulated and phantom), a real one of 2.5 mm slices 1.24. A shift by three pixels at the
# ear gives 1.21 at least and 1.6 in the median, slices left out over 1 mm 1.46 at least, 2 mm shown twice 1.38.
STEP_OK = 1.3

Word = Literal["ok", "review", "failed"]


class Limit(NamedTuple):
    """What one figure of an ear has to keep.

    Attributes:
        figure: Its key in ``status.json`` and in the sidecar of a crop.
        code: The verdict's code beyond either limit; empty for a figure without limits.
        beyond: Which values are beyond a limit; ``near NCC``: those less than the limit below ``ncc``.
        failed: Beyond this the ear cannot be used; None: no such limit.
        review: Beyond this a person has to look at the ear; None: no such limit.
        meaning: What the figure is.
        unit: Of figure and limits; empty for a ratio.
        optional: Whether NaN, a figure that was not measured, keeps the limits. Of other figures it never does.
    """

    figure: str
    code: str
    beyond: Literal["below", "above", "from", "near NCC"]
    failed: float | None
    review: float | None
    meaning: str
    unit: str = ""
    optional: bool = False

    def limit(self, word: Word) -> float | None:
        """Look up the limit for a verdict.

        Args:
            word: failed or review.

        Returns:
            The limit, or None.
        """
        return self.failed if word == "failed" else self.review

    def is_broken(self, values: Mapping[str, float], word: Word) -> bool:
        """Tell whether a figure is beyond its limit.

        Args:
            values: Figures by key, this one and ``ncc`` among them.
            word: failed or review.

        Returns:
            Whether it is; also for a figure that is not a number, unless it is optional.
        """
        limit, value = self.limit(word), values[self.figure]
        if limit is None or (self.optional and math.isnan(value)):
            return False
        if self.beyond == "above":
            return not value <= limit
        if self.beyond == "from":
            return not value < limit
        return not (values["ncc"] - value if self.beyond == "near NCC" else value) >= limit


# As for the distance of slices: thicker ones blur turns that are 1 mm apart into each other, however near they lie.
THICKNESS = Limit("slice_thickness_mm", "thick-slices", "above", None, 0.7, "thickness of slices", "mm", optional=True)
LIMITS = (
    Limit("ncc", "low-correlation", "below", NCC_FAILED, 0.5, "squared correlation around the cochlea, 1 is best"),
    Limit("labyrinth_ncc", "", "below", None, None, "the same around the whole labyrinth; for information"),
    Limit("mirror_ncc", "side-in-doubt", "near NCC", None, 0.2, "best fit of the other side here; -1: not asked"),
    Limit("runner_up_ncc", "runner-up", "near NCC", None, 0.2, "best fit elsewhere in the scan; -1: none"),
    Limit("coil_ncc", "coil-in-doubt", "below", 0.5, 0.72, "correlation along the turns alone (not squared)"),
    Limit("coil_weakest_ncc", "coil-in-doubt", "below", None, 0.6, "the same in the worst quarter around the axis"),
    Limit("agreement_mm", "starts-disagree", "from", None, 0.3, "how far apart two independent starts end", "mm"),
    # Not every method has one.
    Limit("residual_mm", "large-residual", "above", None, 0.75, "median residual of blocks kept", "mm", optional=True),
    Limit("coverage", "cut-off", "below", COVERAGE_FAILED, 0.995, "part of the crop inside the scan"),
    Limit(
        "step_ratio", "step-in-scan", "above", None, STEP_OK, "largest step of slices near an ear, over those beside it"
    ),
    THICKNESS,
)


class Figures(NamedTuple):
    """What is known of one registered ear.

    Attributes:
        fit: Its registration.
        mirror_ncc: ``ncc`` of the best mirrored fit at the same place, -1 where not asked.
        coil: How well the coil itself fits.
        coverage: Part of the crop inside the scan.
        step_ratio: See ``consistency.step_ratio``, about the ear.
    """

    fit: Fit
    mirror_ncc: float
    coil: CoilFigures
    coverage: float
    step_ratio: float = 1.0

    @property
    def values(self) -> dict[str, float]:
        """Each figure by its key in ``status.json``, in the order of ``LIMITS``."""
        further = {"coil_ncc": self.coil.ncc, "coil_weakest_ncc": self.coil.weakest_ncc}
        known = {**self.fit._asdict(), **self._asdict(), **further}
        return {item.figure: known[item.figure] for item in LIMITS if item is not THICKNESS}


class Verdict(NamedTuple):
    """Whether to trust an ear.

    Attributes:
        word: ok, review or failed.
        why: One sentence; empty when ok.
        code: One word for scripts, one of those in ``LIMITS`` or of a ``Doubt``: the gravest of several; empty when ok.
    """

    word: Word
    why: str = ""
    code: str = ""


def judge(values: Mapping[str, float]) -> Verdict:
    """Judge one ear by ``LIMITS``. Failed is what cannot be used; review what a person has to look at.

    A figure that is not a number never passes; only the residual may be missing, as not every method has one.

    Args:
        values: The ear's ``Figures.values``.

    Returns:
        The verdict: what made it fail, or everything that speaks against it, the gravest first.
    """
    texts: dict[Word, dict[str, str]] = {"failed": _failures(values), "review": _doubts(values)}
    for word, said in texts.items():
        codes = {limit.code for limit in LIMITS if limit.figure in values and limit.is_broken(values, word)}
        gravest_first = [code for code in said if code in codes][: 1 if word == "failed" else None]
        if gravest_first:
            return Verdict(word, "; ".join(said[code] for code in gravest_first), gravest_first[0])
    return Verdict("ok")


def with_slice_thickness(verdict: Verdict, thickness_mm: float) -> Verdict:
    """Add to a verdict what the slices' thickness says: too thick ones are to be reviewed.

    Args:
        verdict: Of the ear.
        thickness_mm: As the headers say; 0 where they do not.

    Returns:
        The verdict.
    """
    if not THICKNESS.is_broken({THICKNESS.figure: thickness_mm}, "review"):
        return verdict
    text = f"slices of {thickness_mm:.2g} mm lie nearer than they are thick (limit {THICKNESS.review} mm)"
    return with_doubts(verdict, [Doubt(THICKNESS.code, text)])


def with_doubts(verdict: Verdict, doubts: Iterable[Doubt]) -> Verdict:
    """Add to a verdict what the header leaves in doubt: it is to be reviewed.

    Args:
        verdict: Of the ear.
        doubts: What is in doubt.

    Returns:
        The verdict.
    """
    for doubt in doubts if verdict.word != "failed" else ():
        verdict = Verdict("review", "; ".join(filter(None, (verdict.why, doubt.text))), verdict.code or doubt.code)
    return verdict


def is_candidate(verdict: Verdict) -> bool:
    """Tell whether there is an ear at all, if only one that failed; else the fit is merely the best of nothing.

    Args:
        verdict: Of a fit.

    Returns:
        Whether there is.
    """
    return verdict.code != "low-correlation" or verdict.word != "failed"


def cut_off(coverage: float) -> Verdict:
    """Refuse a scan that does not hold all of the cochlea.

    Args:
        coverage: Part of the crop inside the scan.

    Returns:
        The verdict.
    """
    text = f"the scan ends within the cochlea ({100 * coverage:.0f} % of the crop inside)"
    return Verdict("failed", text, "cut-off")


def refusal(refused: list[Verdict]) -> Reason:
    """Say why a series gave no ear.

    Args:
        refused: The verdicts on its fits, best first; empty when nothing fitted at all.

    Returns:
        The gravest reason.
    """
    gravest = min(filter(is_candidate, refused), key=lambda verdict: verdict.code != CUT_OFF.code, default=None)
    if gravest is not None:
        advice = CUT_OFF.advice if gravest.code == CUT_OFF.code else COIL_IN_DOUBT.advice
        return Reason(gravest.code, gravest.why, advice)
    return NO_EAR.with_text(f"{NO_EAR.text}: best {refused[0].why}") if refused else NO_EAR


def _failures(values: Mapping[str, float]) -> dict[str, str]:
    """What to say of an ear that cannot be used, by code, the gravest first."""
    return {
        "low-correlation": f"correlation with the reference {values['ncc']:.2f} is below {NCC_FAILED}",
        "cut-off": cut_off(values["coverage"]).why,
        "coil-in-doubt": f"no cochlear turns where they should be (correlation {values['coil_ncc']:.2f})",
    }


def _doubts(values: Mapping[str, float]) -> dict[str, str]:
    """What to say of an ear that a person has to look at, by code, the gravest first."""
    ncc = f"{values['ncc']:.2f}"
    turns = f"correlation {values['coil_ncc']:.2f}, worst quarter {values['coil_weakest_ncc']:.2f}"
    times = f"{values['step_ratio']:.1f} times the usual difference"
    return {
        "side-in-doubt": f"the side is in doubt (correlation {ncc}, mirrored {values['mirror_ncc']:.2f})",
        "step-in-scan": f"two blocks of slices join with a step near the ear ({times})",
        "low-correlation": f"correlation with the reference only {ncc}",
        "coil-in-doubt": f"the cochlear turns fit only partly ({turns})",
        "runner-up": f"another place fits nearly as well (correlation {ncc} and {values['runner_up_ncc']:.2f})",
        "starts-disagree": f"two starts end {values['agreement_mm']:.1f} mm apart",
        "large-residual": f"blocks of the image lie {values['residual_mm']:.2f} mm off in the median",
        "cut-off": f"the scan covers only {100 * values['coverage']:.1f} % of the crop",
    }
