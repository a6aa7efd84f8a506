"""What the report says of a folder of synthetic ears: samples, shape, and copies of training ears."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

from medlangevin.evaluation.memorisation import PICTURE as PAIRS_PICTURE
from medlangevin.evaluation.memorisation import RESULT, format_audit
from medlangevin.inference.generation import GENERATED, PICTURE, origin
from medlangevin.reports.report_parts import Missing, Picture, picture, picture_if_any, three_digits, tsv_table
from medlangevin.reports.report_sections import run_picture
from medlangevin.reports.shape_comparison import PICTURE as COMPARISON_PICTURE
from medlangevin.runs.run import Run
from medlangevin.shape.compare import ABOUT, TABLE
from medlangevin.shape.compare_sets import TABLE as SETS_TABLE
from medlangevin.system.files import read_json, reading

_SETS, _DISTANCES = ("first", "second"), (("wasserstein", "wasserstein"), ("ks_statistic", "ks"))
_STALE = "Not shown: the volumes have been replaced since they were measured"


def samples(run: Run, synthetic: Path | None, *, with_real: bool) -> list[Picture | Missing]:
    """Read the pictures of synthetic ears and of reconstructions.

    Args:
        run: The run.
        synthetic: A folder that ``generate`` wrote, if any.
        with_real: Whether real ears may be shown.

    Returns:
        Pictures, or what to run.
    """
    if synthetic is not None and (synthetic / PICTURE).is_file() and (synthetic / GENERATED).is_file():
        shown: list[Picture | Missing] = [picture(synthetic / PICTURE, f"SYNTHETIC cochleae in {synthetic.name}")]
    else:
        shown = [run_picture(run, "samples", "SYNTHETIC cochleae drawn at the end of the training")]
    if with_real:
        shown.append(run_picture(run, "reconstructions", "Validation ears, each beside its reconstruction"))
    return shown


def shape(synthetic: Path | None) -> dict[str, Any] | Missing:
    """Tell what ``shape --compare`` found.

    Args:
        synthetic: A folder that ``generate`` wrote, if any.

    Returns:
        ``first`` and ``second`` (the names of the two sets), ``measures`` (rows), ``sets`` (as ``tsv_table`` has them,
        or None) and ``picture`` (or None); or what to run where there is nothing, or nothing on these ears.

    Raises:
        MedlangevinError: Where a file of the comparison is damaged.
    """
    folder = None if synthetic is None else synthetic / "shape"
    if folder is None or not (folder / TABLE).is_file():
        commands = "medlangevin generate RUN --count 100 --out synthetic; " if synthetic is None else ""
        commands += f"medlangevin shape {synthetic or 'synthetic'} --compare DATA"
        return Missing("Not compared yet (then give the folder with --synthetic)", commands)
    about: dict[str, Any] = {}
    with reading(folder / ABOUT, "run medlangevin shape again"):
        if (folder / ABOUT).is_file():
            about = dict(read_json(folder / ABOUT))
    if _is_stale(about, "first_origin", synthetic):
        return Missing(_STALE, f"medlangevin shape {synthetic} --compare DATA")
    names = {which: str(about.get(which, which)) for which in _SETS}
    shown: dict[str, Any] = {
        **names,
        "measures": _measures(folder / TABLE),
        "sets": None,
        "picture": picture_if_any(folder / COMPARISON_PICTURE, "Each measure in both populations"),
    }
    sets = folder / SETS_TABLE
    if sets.is_file():
        with reading(sets, "run medlangevin shape again"):
            shown["sets"] = tsv_table(sets, partial(_named, names), needed="value")
    return shown


def _is_stale(record: dict[str, Any], key: str, synthetic: Path | None) -> bool:
    """Whether the volumes of ``synthetic`` are not those that ``record`` is about."""
    return synthetic is not None and record.get(key) is not None and record[key] != origin(synthetic)


def _named(names: dict[str, str], text: str) -> str:
    """``first_count``, and statistics that end in ``_first``, with the set's own name."""
    what, _, which = text.rpartition("_")
    if what in names and which == "count":
        return f"n, {names[what]}"
    return f"{what}, {names[which]}" if which in names else text


def _measures(path: Path) -> list[list[str]]:
    """The comparison measure by measure, as wide as a page: the whole table stays in its file."""
    with reading(path, "run medlangevin shape again"), path.open(encoding="utf-8", newline="") as file:
        return [
            [
                row["measure"],
                *(_spread(row, which) for which in _SETS),
                *(_interval(row, *distance) for distance in _DISTANCES),
                _short(row["ks_p"]),
            ]
            for row in csv.DictReader(file, delimiter="\t")
        ]


def _spread(row: dict[str, str], which: str) -> str:
    return f"{_short(row[f'{which}_mean'])} ± {_short(row[f'{which}_sd'])} ({row[f'{which}_count']})"


def _interval(row: dict[str, str], value: str, ends: str) -> str:
    return f"{_short(row[value])} ({_short(row[f'{ends}_low'])} to {_short(row[f'{ends}_high'])})"


def _short(value: str) -> str:
    return three_digits(float(value or "nan"))


def copies(synthetic: Path | None, *, with_real: bool) -> dict[str, Any] | Missing:
    """Tell what ``audit`` found.

    Args:
        synthetic: A folder that ``generate`` wrote, if any.
        with_real: Whether real ears may be shown.

    Returns:
        ``text`` and ``picture`` (or None), or what to run where there is nothing, or nothing on these ears.

    Raises:
        MedlangevinError: Where audit.json is damaged.
    """
    folder = None if synthetic is None else synthetic / "audit"
    if folder is None or not (folder / RESULT).is_file():
        return Missing("Not looked for yet", f"medlangevin audit RUN --synthetic {synthetic or 'synthetic'}")
    result = read_json(folder / RESULT)
    with reading(folder / RESULT, "run medlangevin audit again"):
        if _is_stale(result, "synthetic_origin", synthetic):
            return Missing(_STALE, f"medlangevin audit RUN --synthetic {synthetic}")
        text = format_audit(result)
    caption = "Synthetic ears, each beside its nearest training ear"
    return {"text": text, "picture": picture_if_any(folder / PAIRS_PICTURE, caption) if with_real else None}
