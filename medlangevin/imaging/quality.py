"""Whether to trust an ear: ``ok``, ``review`` or ``failed``, from figures that do not need the truth."""

from typing import NamedTuple

from medlangevin.imaging.register import Fit
from medlangevin.imaging.rejection import Reason

NCC_FAILED = 0.5
NCC_OK = 0.62
MIRROR_MARGIN = 0.1
RUNNER_UP_MARGIN = 0.1
AGREEMENT_OK_MM = 0.5
RESIDUAL_OK_MM = 1.0
COVERAGE_FAILED = 0.9
COVERAGE_OK = 0.995

NO_EAR = Reason(
    "no-ear", "no inner ear found (nothing in the scan resembles the reference)", "look whether the scan shows one"
)


class Verdict(NamedTuple):
    """``word``: ok, review or failed; ``code``: one word for scripts, empty when ok; ``why``: one sentence.

    With several doubts ``code`` is of the first.
    """

    word: str
    why: str = ""
    code: str = ""


def judge(fit: Fit, mirror_ncc: float, coverage: float) -> Verdict:
    """Judge one ear.

    ``fit``: its registration. ``mirror_ncc``: correlation of the best mirrored fit at the same place (-1 without one).
    ``coverage``: part of the crop inside the scan.
    """
    if fit.ncc < NCC_FAILED:
        return Verdict(
            "failed", f"correlation with the reference {fit.ncc:.2f} is below {NCC_FAILED}", "low-correlation"
        )
    if coverage < COVERAGE_FAILED:
        text = f"the scan ends within the cochlea ({100 * coverage:.0f} % of the crop inside)"
        return Verdict("failed", text, "cut-off")
    doubts = _doubts(fit, mirror_ncc, coverage)
    if not doubts:
        return Verdict("ok")
    return Verdict("review", "; ".join(text for _, text in doubts), doubts[0][0])


def _doubts(fit: Fit, mirror_ncc: float, coverage: float) -> list[tuple[str, str]]:
    """Code and text of everything that speaks against a fit that has not failed."""
    doubts = []
    if fit.ncc - mirror_ncc < MIRROR_MARGIN:
        doubts.append(("side-in-doubt", f"the side is in doubt (correlation {fit.ncc:.2f}, mirrored {mirror_ncc:.2f})"))
    if fit.ncc < NCC_OK:
        doubts.append(("low-correlation", f"correlation with the reference only {fit.ncc:.2f}"))
    if fit.ncc - fit.runner_up_ncc < RUNNER_UP_MARGIN:
        doubts.append(
            ("runner-up", f"another place fits nearly as well (correlation {fit.ncc:.2f} and {fit.runner_up_ncc:.2f})")
        )
    if not fit.agreement_mm < AGREEMENT_OK_MM:
        doubts.append(("starts-disagree", f"two starts end {fit.agreement_mm:.1f} mm apart"))
    if fit.residual_mm > RESIDUAL_OK_MM:
        doubts.append(("large-residual", f"blocks of the image lie {fit.residual_mm:.2f} mm off in the median"))
    if coverage < COVERAGE_OK:
        doubts.append(("cut-off", f"the scan covers only {100 * coverage:.1f} % of the crop"))
    return doubts


def refusal(refused: list[Verdict]) -> Reason:
    """Why a series gave no ear, from the verdicts on its fits (none when nothing fitted at all)."""
    cut = [verdict.why for verdict in refused if verdict.code == "cut-off"]
    if cut:
        return Reason("cut-off", cut[0], "export the whole scan, or take another series")
    if refused:
        return Reason(NO_EAR.code, f"{NO_EAR.text}: best {refused[0].why}", NO_EAR.advice)
    return NO_EAR
