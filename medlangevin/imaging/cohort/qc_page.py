"""The page to look at after a run: every ear with its picture and figures, and every series that gave none."""

from collections import Counter

from medlangevin.imaging.cohort.ear_files import ear_name
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.system.pages import page_template

VERDICTS = ("failed", "review", "ok")
# Key of a record, heading, what it means.
FIGURES = (
    ("ncc", "NCC", "correlation with the reference around the cochlea"),
    ("labyrinth_ncc", "labyrinth", "correlation with the reference around the whole labyrinth"),
    (
        "mirror_ncc",
        "mirror",
        "correlation of the best fit of the other side at this place; -1: not asked (failed, or cut off)",
    ),
    ("runner_up_ncc", "runner-up", "correlation of the best fit elsewhere in the scan; -1: none"),
    ("coil_ncc", "coil", "correlation along the turns of the duct"),
    ("coil_weakest_ncc", "weakest turn", "the same where it is lowest"),
    ("agreement_mm", "agreement mm", "distance between the results of two independent starts"),
    ("residual_mm", "residual mm", "median distance of matched blocks from the rigid motion"),
    ("coverage", "coverage", "part of the crop inside the scan"),
    ("step_ratio", "step", "largest difference between two slices near the ear, over those beside it"),
)


def page(outcomes: list[Outcome], other_failures: list[dict[str, str]]) -> str:
    """Make the page of a cohort: failed ears first, then those to review, each with the worst correlation first.

    Args:
        outcomes: What every person gave.
        other_failures: Rows of failures.tsv on series that belong to no person.

    Returns:
        HTML that needs nothing but the pictures beside it.
    """
    ears = [ear for outcome in outcomes for ear in (*outcome.ears, *outcome.failed)]
    ears.sort(key=lambda ear: (VERDICTS.index(ear["verdict"]), ear["ncc"], ear["subject"], ear["side"]))
    shown = []
    for ear in ears:
        picture = f"{ear_name(ear['subject'], ear['side'], failed=ear['verdict'] == 'failed')}.png"
        figures = [ear.get(key) for key, _, _ in FIGURES]
        shown.append({**ear, "rank": VERDICTS.index(ear["verdict"]), "picture": picture, "figures": figures})
    failures = [_problem(row, f"sub-{outcome.subject}") for outcome in outcomes for row in outcome.failures]
    return page_template("medlangevin.imaging.cohort", "qc.html.j2").render(
        ears=shown,
        count=Counter(ear["verdict"] for ear in ears),
        verdicts=VERDICTS,
        figures=FIGURES,
        failures=failures + [_problem(row) for row in other_failures],
        notes=[_problem(row, f"sub-{outcome.subject}") for outcome in outcomes for row in outcome.notes],
    )


def _problem(row: dict[str, str], subject: str = "") -> dict[str, str]:
    return {**row, "series": f"{row['study']} {subject}".strip()}
