"""The index files of an output folder: dataset.json, participants.tsv, failures.tsv and qc/index.html."""

import hashlib
import html
from pathlib import Path
from typing import Any

from medlangevin.imaging.person import Outcome, ear_name
from medlangevin.io import write_json, write_text

SHARES = {"test": 0.15, "validation": 0.15}
FEWEST_PEOPLE = 3
DESCRIPTION = (
    "Cochlea crops, 60 x 50 x 50 voxels of 0.2 mm, int16 HU, in the reference frame; left ears mirrored to right"
)


def split_by_person(subjects: list[str]) -> dict[str, str]:
    """``training``, ``validation`` or ``test`` for each person, from a hash of the pseudonym alone.

    So nobody changes the split when people are added, and no run is tested on people it was trained on. The
    exceptions are small cohorts: fewer than three people all train, and otherwise no split stays empty.
    """
    place = {name: int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12 for name in subjects}
    ordered = sorted(place, key=lambda name: place[name])
    if len(ordered) < FEWEST_PEOPLE:
        return dict.fromkeys(ordered, "training")
    test, held_out = SHARES["test"], sum(SHARES.values())
    splits = {
        name: "test" if place[name] < test else "validation" if place[name] < held_out else "training"
        for name in ordered
    }
    splits[ordered[0]] = "test"
    splits[ordered[-1]] = "training"
    if "validation" not in splits.values():
        splits[next((name for name in ordered[1:-1] if splits[name] == "training"), ordered[1])] = "validation"
    return splits


def write_index_files(out: Path, outcomes: list[Outcome], other_failures: list[dict[str, str]]) -> None:
    """Write all index files of ``out`` from what became of each person. Idempotent, in a fixed order."""
    outcomes = sorted(outcomes, key=lambda item: item.subject)
    ears = [ear for outcome in outcomes for ear in outcome.ears]
    splits = split_by_person([ear["subject"] for ear in ears])
    _write_failures(out, outcomes, other_failures)
    write_text(out / "qc" / "index.html", _page(ears))
    lines = ["participant_id\tsides\tsplit"]
    for outcome in outcomes:
        if outcome.ears:
            sides = "".join(sorted(ear["side"] for ear in outcome.ears))
            lines.append(f"sub-{outcome.subject}\t{sides}\t{splits[outcome.subject]}")
    write_text(out / "participants.tsv", "\n".join(lines) + "\n")
    entries: dict[str, Any] = {"description": DESCRIPTION, "training": [], "validation": [], "test": []}
    for ear in ears:
        split = splits[ear["subject"]]
        image = f"crops/{ear_name(ear['subject'], ear['side'])}.nii.gz"
        entries[split].append({"image": image, "subject": ear["subject"], "side": ear["side"], "split": split})
    write_json(out / "dataset.json", entries)


def _write_failures(out: Path, outcomes: list[Outcome], other: list[dict[str, str]]) -> None:
    rows = [(outcome.subject, item) for outcome in outcomes for item in outcome.failures] + [("", row) for row in other]
    lines = ["study\tsubject\tcode\treason\twhat_to_do"]
    lines += [f"{row['study']}\t{name}\t{row['code']}\t{row['reason']}\t{row['what_to_do']}" for name, row in rows]
    write_text(out / "failures.tsv", "\n".join(lines) + "\n")


COLUMNS = ("subject", "side", "verdict", "ncc", "mirror_ncc", "labyrinth_ncc", "coverage", "why")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cochlea crops: quality</title>
<style>
body {{ font: 14px sans-serif; margin: 2em; color: #222; }}
table {{ border-collapse: collapse; }} th {{ cursor: pointer; background: #eee; }}
th, td {{ border: 1px solid #ccc; padding: 4px 8px; text-align: left; }} td.review {{ background: #ffe9b8; }}
img {{ width: 420px; display: block; }}
</style></head><body>
<h1>{count} cochlea crops</h1>
<p>Orange: the wall of the reference's lumen. It should run along the wall of the dark duct. Click on a heading to
sort, on a picture to enlarge. Studies without a crop are in failures.tsv.</p>
<table><thead><tr>{heads}<th>picture</th></tr></thead><tbody>
{rows}
</tbody></table>
<script>
document.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {{
  const body = document.querySelector("tbody"), sign = head.dataset.up = head.dataset.up === "1" ? "-1" : "1";
  [...body.rows].sort((a, b) => sign * a.cells[column].innerText.localeCompare(
    b.cells[column].innerText, undefined, {{numeric: true}})).forEach(row => body.append(row));
}}));
</script></body></html>
"""


def _page(ears: list[dict[str, Any]]) -> str:
    rows = []
    for ear in ears:
        picture = f"{ear_name(ear['subject'], ear['side'])}.png"
        cells = "".join(f'<td class="{ear["verdict"]}">{html.escape(str(ear[key]))}</td>' for key in COLUMNS)
        rows.append(f'<tr>{cells}<td><a href="{picture}"><img src="{picture}" loading="lazy" alt=""></a></td></tr>')
    heads = "".join(f"<th>{key.replace('_', ' ')}</th>" for key in COLUMNS)
    return _PAGE.format(count=len(ears), heads=heads, rows="\n".join(rows))
