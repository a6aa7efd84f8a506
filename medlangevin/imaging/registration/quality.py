"""Whether to trust an ear: ``ok``, ``review`` or ``failed``, from figures that do not need the truth."""

from typing import NamedTuple

from medlangevin.imaging.reading.rejection import Reason
from medlangevin.imaging.registration.coil_check import CoilFigures
from medlangevin.imaging.registration.register import Fit

# Chosen on the phantom's cases of benchmarks/validation/trust.py, about half-way between right fits and wrong ones, and
# tested on scans of other ears. Correlations of the registration (Fit) are squared, those of the coil are not.
NCC_FAILED = 0.3
NCC_OK = 0.5
COIL_FAILED = 0.5
COIL_OK = 0.72
WEAKEST_OK = 0.6
MIRROR_MARGIN = 0.2
RUNNER_UP_MARGIN = 0.2
AGREEMENT_OK_MM = 0.3
RESIDUAL_OK_MM = 0.75
COVERAGE_FAILED = 0.9
COVERAGE_OK = 0.995
# Sound scans reach 1.18 (38, simulated and phantom), a real one of 2.5 mm slices 1.24. A shift by three pixels at the
# ear gives 1.21 at least and 1.6 in the median, slices left out over 1 mm 1.46 at least, 2 mm shown twice 1.38.
STEP_OK = 1.3
# As for the distance of slices: thicker ones blur turns that are 1 mm apart into each other, however near they lie.
THICKNESS_OK_MM = 0.7

NO_EAR = Reason(
    "no-ear", "no inner ear found (nothing in the scan resembles the reference)", "look whether the scan shows one"
)


class Figures(NamedTuple):
    """What is known of one registered ear. ``mirror_ncc``: best mirrored fit at the same place, -1 where not asked.

    ``coil``: how well the coil itself fits; ``coverage``: part of the crop inside the scan; ``step_ratio``: see
    ``consistency.step_ratio``, about the ear.
    """

    fit: Fit
    mirror_ncc: float
    coil: CoilFigures
    coverage: float
    step_ratio: float = 1.0


class Verdict(NamedTuple):
    """``word``: ok, review or failed; ``why``: one sentence, empty when ok; ``code``: one word for scripts, empty when
    ok, else low-correlation, coil-in-doubt, cut-off, side-in-doubt, step-in-scan, runner-up, starts-disagree,
    large-residual or thick-slices: of several, the gravest."""

    word: str
    why: str = ""
    code: str = ""


def judge(figures: Figures) -> Verdict:
    """Judge one ear. Failed is what cannot be used; review what a person has to look at.

    A figure that is not a number never passes; only the residual may be missing, as not every method has one.
    """
    for verdicts, word in ((_failures(figures), "failed"), (_doubts(figures), "review")):
        if verdicts:
            return Verdict(word, "; ".join(text for _, text in verdicts), verdicts[0][0])
    return Verdict("ok")


def of_thick_slices(verdict: Verdict, thickness_mm: float) -> Verdict:
    """What ``verdict`` becomes for slices of this thickness: too thick ones are to be reviewed."""
    if verdict.word == "failed" or not thickness_mm > THICKNESS_OK_MM:
        return verdict
    text = f"slices of {thickness_mm:.2g} mm lie nearer than they are thick (limit {THICKNESS_OK_MM} mm)"
    return Verdict("review", "; ".join(filter(None, (verdict.why, text))), verdict.code or "thick-slices")


def is_candidate(verdict: Verdict) -> bool:
    """Whether there is an ear at all, if only one that failed; else the fit is merely the best of nothing."""
    return verdict.code != "low-correlation" or verdict.word != "failed"


def cut_off(coverage: float) -> Verdict:
    """The scan does not hold all of the cochlea."""
    text = f"the scan ends within the cochlea ({100 * coverage:.0f} % of the crop inside)"
    return Verdict("failed", text, "cut-off")


def _failures(figures: Figures) -> list[tuple[str, str]]:
    """Code and text of what makes an ear useless."""
    ncc, coil = figures.fit.ncc, figures.coil
    if not ncc >= NCC_FAILED:
        return [("low-correlation", f"correlation with the reference {ncc:.2f} is below {NCC_FAILED}")]
    if not figures.coverage >= COVERAGE_FAILED:
        verdict = cut_off(figures.coverage)
        return [(verdict.code, verdict.why)]
    if not coil.ncc >= COIL_FAILED:
        return [("coil-in-doubt", f"no cochlear turns where they should be (correlation {coil.ncc:.2f})")]
    return []


def _doubts(figures: Figures) -> list[tuple[str, str]]:
    """Code and text of everything that speaks against a fit that has not failed."""
    fit, coil, coverage = figures.fit, figures.coil, figures.coverage
    doubts = []
    if not fit.ncc - figures.mirror_ncc >= MIRROR_MARGIN:
        text = f"the side is in doubt (correlation {fit.ncc:.2f}, mirrored {figures.mirror_ncc:.2f})"
        doubts.append(("side-in-doubt", text))
    if not figures.step_ratio <= STEP_OK:
        times = f"{figures.step_ratio:.1f} times the usual difference"
        doubts.append(("step-in-scan", f"two blocks of slices join with a step near the ear ({times})"))
    if fit.ncc < NCC_OK:
        doubts.append(("low-correlation", f"correlation with the reference only {fit.ncc:.2f}"))
    if not (coil.ncc >= COIL_OK and coil.weakest_ncc >= WEAKEST_OK):
        text = f"the cochlear turns fit only partly (correlation {coil.ncc:.2f}, worst quarter {coil.weakest_ncc:.2f})"
        doubts.append(("coil-in-doubt", text))
    if not fit.ncc - fit.runner_up_ncc >= RUNNER_UP_MARGIN:
        text = f"another place fits nearly as well (correlation {fit.ncc:.2f} and {fit.runner_up_ncc:.2f})"
        doubts.append(("runner-up", text))
    if not fit.agreement_mm < AGREEMENT_OK_MM:
        doubts.append(("starts-disagree", f"two starts end {fit.agreement_mm:.1f} mm apart"))
    if fit.residual_mm > RESIDUAL_OK_MM:
        doubts.append(("large-residual", f"blocks of the image lie {fit.residual_mm:.2f} mm off in the median"))
    if coverage < COVERAGE_OK:
        doubts.append(("cut-off", f"the scan covers only {100 * coverage:.1f} % of the crop"))
    return doubts


def refusal(refused: list[Verdict]) -> Reason:
    """Why a series gave no ear, from the verdicts on its fits, best first (none when nothing fitted at all)."""
    for verdict in refused:
        if verdict.code == "cut-off":
            return Reason(verdict.code, verdict.why, "export the whole scan, or take another series")
    for verdict in refused:
        if is_candidate(verdict):
            return Reason(verdict.code, verdict.why, "look at its picture")
    if refused:
        return Reason(NO_EAR.code, f"{NO_EAR.text}: best {refused[0].why}", NO_EAR.advice)
    return NO_EAR
