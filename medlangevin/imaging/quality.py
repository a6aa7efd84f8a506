"""Whether to trust an ear: ``ok``, ``review`` or ``failed``, from figures that do not need the truth."""

from typing import NamedTuple

from medlangevin.imaging.register import Fit
from medlangevin.imaging.rejection import Reason

# From 28 ears of simulated scans, as they are and turned by 30 and 40 degrees: right fits 0.67 to 0.85. The same scans
# with the inner ear painted over: 0.26 at most. Fits of the wrong side: 0.58 at most, the next 0.36, and all lay on a
# better fit of the right side, so they are dropped. Nothing wrong reached NCC_OK.
NCC_FAILED = 0.5
NCC_OK = 0.62
MIRROR_MARGIN = 0.1
COVERAGE_FAILED = 0.9
COVERAGE_OK = 0.995

NO_EAR = Reason(
    "no-ear", "no inner ear found (nothing in the scan resembles the reference)", "look whether the scan shows one"
)


class Verdict(NamedTuple):
    """``word``: ok, review or failed; ``why``: one sentence, empty when ok."""

    word: str
    why: str


def judge(fit: Fit, rival_ncc: float, coverage: float) -> Verdict:
    """Judge one ear.

    ``fit``: its registration. ``rival_ncc``: correlation of the best mirrored fit at the same place (-1 without one).
    ``coverage``: part of the crop inside the scan.
    """
    if fit.ncc < NCC_FAILED:
        return Verdict("failed", f"correlation with the reference {fit.ncc:.2f} is below {NCC_FAILED}")
    if coverage < COVERAGE_FAILED:
        return Verdict("failed", f"the scan ends within the cochlea ({100 * coverage:.0f} % of the crop inside)")
    doubts = []
    if fit.ncc < NCC_OK:
        doubts.append(f"correlation with the reference only {fit.ncc:.2f}")
    if fit.ncc - rival_ncc < MIRROR_MARGIN:
        doubts.append(f"the side is in doubt (correlation {fit.ncc:.2f}, mirrored {rival_ncc:.2f})")
    if coverage < COVERAGE_OK:
        doubts.append(f"the scan covers only {100 * coverage:.1f} % of the crop")
    return Verdict("review", "; ".join(doubts)) if doubts else Verdict("ok", "")


def refusal(refused: list[Verdict]) -> Reason:
    """Why a series gave no ear, from the verdicts on its fits (none when nothing fitted at all)."""
    cut = [verdict.why for verdict in refused if "ends within" in verdict.why]
    if cut:
        return Reason("cut-off", cut[0], "export the whole scan, or take another series")
    if refused:
        return Reason(NO_EAR.code, f"{NO_EAR.text}: best {refused[0].why}", NO_EAR.advice)
    return NO_EAR
