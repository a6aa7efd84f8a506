"""The page to look at after a run: every ear with its picture and figures, and every series that gave none."""

import html
from collections import Counter
from typing import Any

from medlangevin.imaging.cohort.ear_files import ear_name, failed_name
from medlangevin.imaging.cohort.person import Outcome

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

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Cochlea crops: quality</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }}
table {{ border-collapse: collapse; margin: .5em 0 2em; }}
th, td {{ border: 1px solid #ccc; padding: 3px 8px; text-align: left; vertical-align: top; }}
th {{ cursor: pointer; background: #eee; position: sticky; top: 0; white-space: nowrap; }}
td.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
td.why {{ min-width: 14em; max-width: 22em; }} td.name {{ white-space: nowrap; }}
tr.failed td.verdict {{ background: #f6c6c0; }} tr.review td.verdict {{ background: #ffe9b8; }}
tr.ok td.verdict {{ background: #d5ecd0; }}
img {{ width: 420px; display: block; }}
button {{ font: inherit; padding: 2px 12px; }} button.on {{ background: #333; color: #fff; }}
</style></head><body>
<h1>Cochlea crops</h1>
<p>{counts}</p>
<p>Orange: the wall of the reference's lumen. It should run along the wall of the dark duct. Click on a heading to sort,
on a picture to enlarge. The side is told from the image.</p>
<p>Show {buttons}</p>
<table id="ears"><thead><tr>{heads}</tr></thead><tbody>
{ears}
</tbody></table>
<h2>Series without an ear</h2>
{failures}
<h2>Decisions</h2>
{notes}
<script>
document.querySelectorAll("th").forEach(head => head.addEventListener("click", () => {{
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const sign = head.dataset.up === "1" ? -1 : 1;
  head.dataset.up = sign;
  const key = row => row.cells[column].dataset.key ?? row.cells[column].innerText;
  const number = text => text.trim() === "" ? NaN : Number(text);
  [...body.rows].sort((a, b) => {{
    const [x, y] = [key(a), key(b)], [p, q] = [number(x), number(y)];
    return sign * (isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q);
  }}).forEach(row => body.append(row));
}}));
document.querySelectorAll("button").forEach(button => button.addEventListener("click", () => {{
  document.querySelectorAll("button").forEach(other => other.classList.toggle("on", other === button));
  const wanted = button.dataset.show.split(" ");
  for (const row of document.querySelector("#ears").tBodies[0].rows) row.hidden = !wanted.includes(row.className);
}}));
</script></body></html>
"""


def page(outcomes: list[Outcome], other_failures: list[dict[str, str]]) -> str:
    """HTML that needs nothing but the pictures beside it. ``other_failures``: of series that belong to no person.

    Failed ears come first, then those to review, each with the worst correlation first.
    """
    ears = [ear for outcome in outcomes for ear in (*outcome.ears, *outcome.failed)]
    ears.sort(key=lambda ear: (VERDICTS.index(ear["verdict"]), ear["ncc"], ear["subject"], ear["side"]))
    count = Counter(ear["verdict"] for ear in ears)
    failures = [(f"sub-{outcome.subject}", row) for outcome in outcomes for row in outcome.failures]
    failures += [("", row) for row in other_failures]
    notes = [(f"sub-{outcome.subject}", row) for outcome in outcomes for row in outcome.notes]
    heads = ["verdict", "side", "subject", "picture", "code", "why", *(heading for _, heading, _ in FIGURES)]
    titles = dict.fromkeys(heads, "") | {heading: meaning for _, heading, meaning in FIGURES}
    return _PAGE.format(
        counts=f"{len(ears)} ears: {count['ok']} ok, {count['review']} to review, {count['failed']} failed. "
        f"Series without an ear: {len(failures)}. Decisions: {len(notes)}.",
        buttons=_buttons(count),
        heads="".join(f'<th title="{html.escape(titles[head])}">{head}</th>' for head in heads),
        ears="\n".join(map(_ear, ears)),
        failures=_table(failures),
        notes=_table(notes),
    )


def _buttons(count: Counter[str]) -> str:
    doubtful = count["failed"] + count["review"]
    choices = [("all", " ".join(VERDICTS), count.total()), ("failed and review", "failed review", doubtful)]
    choices += [(verdict, verdict, count[verdict]) for verdict in VERDICTS]
    return " ".join(
        f'<button data-show="{shown}"{" class=on" if name == "all" else ""}>{name} ({number})</button>'
        for name, shown, number in choices
    )


def _ear(ear: dict[str, Any]) -> str:
    verdict = ear["verdict"]
    name = failed_name if verdict == "failed" else ear_name
    picture = f"{name(ear['subject'], ear['side'])}.png"
    cells = [
        f'<td class="verdict" data-key="{VERDICTS.index(verdict)}">{verdict}</td>',
        f"<td>{ear['side']}</td>",
        f'<td class="name">sub-{ear["subject"]}</td>',
        f'<td><a href="{picture}"><img src="{picture}" loading="lazy" alt="three planes of the ear"></a></td>',
        f"<td>{html.escape(ear['code'])}</td>",
        f'<td class="why">{html.escape(ear["why"])}</td>',
        *(f'<td class="number">{_number(ear.get(key))}</td>' for key, _, _ in FIGURES),
    ]
    return f'<tr class="{verdict}">{"".join(cells)}</tr>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(rows: list[tuple[str, dict[str, str]]]) -> str:
    if not rows:
        return "<p>None.</p>"
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(row[key])}</td>" for key in ("study", "code", "reason", "what_to_do"))
        for row in ({**row, "study": f"{row['study']} {subject}".strip()} for subject, row in rows)
    ]
    heads = "".join(f"<th>{head}</th>" for head in ("series", "code", "reason", "what to do"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table>"
