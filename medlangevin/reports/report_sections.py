"""The sections of the report page, each from files that other commands wrote."""

import csv
import html
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from medlangevin.datasets.datalist import SPLITS, CropIndex
from medlangevin.evaluation.evaluate import RESULTS, format_result
from medlangevin.evaluation.memorisation import PICTURE as PAIRS_PICTURE
from medlangevin.evaluation.memorisation import RESULT, format_audit
from medlangevin.inference.generation import GENERATED, PICTURE, origin
from medlangevin.inference.posterior import PICTURE as POSTERIOR_PICTURE
from medlangevin.inference.posterior import SUMMARY, format_posterior
from medlangevin.reports.report_parts import missing, picture, table, tsv_table
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.run import ENVIRONMENT, METRICS, Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

# Pictures of this many ears: the least trusted ones.
QC_PICTURES = 6
_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, csv.Error)
_SETS, _DISTANCES = ("first", "second"), (("wasserstein", "wasserstein"), ("ks_statistic", "ks"))
_STALE = "Not shown: the volumes have been replaced since they were measured"
_ENVIRONMENT = ("medlangevin", "torch", "python", "device", "platform")


class Section(NamedTuple):
    """``key``: its anchor; ``body``: HTML."""

    key: str
    title: str
    body: str


def run_sections(run: Run) -> list[Section]:
    """What was trained, how it learned, and what ``evaluate`` found."""
    return [
        Section("run", "The run", _facts(run)),
        Section("learning", "Learning curves", _picture_of_run(run, "curves", "ELBO and the parts of the loss")),
        Section("likelihood", "Likelihood", _likelihood(run)),
    ]


def _facts(run: Run) -> str:
    rows = read_metrics(run.directory / METRICS)
    config = run.config
    facts: list[tuple[str, object]] = [
        ("model", config.model.kind),
        ("latent dimensions", run.model.latent_dim),
        ("parameters", sum(item.numel() for item in run.model.parameters())),
        ("epochs", f"{int(rows[-1]['epoch']) if rows else 0}; this page: the best one, {run.state.epoch}"),
        ("batch size", config.training.batch_size),
        ("seed", config.seed),
    ]
    environment = run.directory / ENVIRONMENT
    if environment.is_file():
        with _reading(environment, "delete it"):
            about = read_json(environment)
            about |= about.get("packages", {})
            facts += [(name, str(about[name])) for name in _ENVIRONMENT if about.get(name)]
    return table(["", ""], facts)


@contextmanager
def _reading(path: Path, advice: str) -> Iterator[None]:
    """What ``path`` holds is damaged where it is not what its command wrote. Raises MedlangevinError."""
    try:
        yield
    except _DAMAGE as error:
        raise MedlangevinError(f"{path} is damaged; {advice}") from error


def _picture_of_run(run: Run, name: str, caption: str) -> str:
    path = run.directory / "samples" / f"{name}.png"
    if path.is_file():
        return picture(path, caption)
    return missing("Not drawn yet", "medlangevin train CONFIG --resume")


def _likelihood(run: Run) -> str:
    path = run.directory / RESULTS
    if not path.is_file():
        return missing("Not evaluated yet", "medlangevin evaluate RUN")
    results = read_json(path)
    with _reading(path, "delete it and evaluate again"):
        texts = [f"{split}:\n{format_result(results[split])}" for split in SPLITS if split in results]
    return "".join(f"<pre>{html.escape(text)}</pre>" for text in texts)


def data_section(run: Run, index: CropIndex, *, with_real: bool) -> Section:
    """The crops: how many, what their registration was judged, and pictures of the least trusted."""
    rows = [(name, len(index.split(name)), len({ear.subject for ear in index.split(name)})) for name in SPLITS]
    body = table(["split", "ears", "people"], rows)
    body += f"<p>Validated on {html.escape(str(run.data.get('validation_source', 'unknown')))}.</p>"
    records = []
    for name in SPLITS:
        for ear in index.split(name):
            sidecar = ear.image.with_name(ear.image.name.removesuffix(".nii.gz") + ".json")
            if sidecar.is_file():
                records.append((ear, _registration(sidecar)))
    if not records:
        return Section("data", "The data", body + missing("No registration figures", "medlangevin preprocess"))
    verdicts = Counter(str(record.get("verdict")) for _, record in records)
    listed = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
    body += f"<p>Registration: {html.escape(listed)} (ears without a crop: see qc/index.html of the data).</p>"
    if with_real:
        records.sort(key=lambda item: (item[1].get("verdict") == "ok", item[1]["ncc"] or 0.0))
        shown = []
        for ear, record in records[:QC_PICTURES]:
            path = index.root / "qc" / f"{ear.image.name.removesuffix('.nii.gz')}.png"
            if path.is_file():
                why = record.get("why") or f"correlation {record['ncc'] or float('nan'):.2f}"
                shown.append(picture(path, f"sub-{ear.subject} side {ear.side}: {record.get('verdict')}, {why}"))
        body += f'<p>The {len(shown)} least trusted:</p><div class="few">{"".join(shown)}</div>' if shown else ""
    return Section("data", "The data", body)


def _registration(sidecar: Path) -> dict[str, Any]:
    """What preprocess wrote beside a crop; ``ncc`` is a number or None."""
    record = read_json(sidecar)
    if not isinstance(record, dict) or not isinstance(record.setdefault("ncc", None), int | float | None):
        raise MedlangevinError(f"{sidecar} is damaged; delete it, and run medlangevin preprocess again")
    return record


def synthetic_sections(run: Run, synthetic: Path | None, *, with_real: bool) -> list[Section]:
    """Samples beside real ears, and what ``shape`` and ``audit`` found in ``synthetic``."""
    samples = '<p class="synthetic">SYNTHETIC: these volumes show no person.</p>'
    if synthetic is not None and (synthetic / PICTURE).is_file() and (synthetic / GENERATED).is_file():
        samples += picture(synthetic / PICTURE, f"SYNTHETIC cochleae in {synthetic.name}")
    else:
        samples += _picture_of_run(run, "samples", "SYNTHETIC cochleae drawn at the end of the training")
    if with_real:
        samples += _picture_of_run(run, "reconstructions", "Validation ears, each beside its reconstruction")
    return [
        Section("samples", "Samples beside real ears", samples),
        Section("shape", "Shape", _shape(synthetic)),
        Section("copies", "Copies of training ears", _copies(synthetic, with_real=with_real)),
    ]


def posterior_section(folder: Path | None, *, with_real: bool) -> Section:
    """What a scan leaves open about each measure: what ``posterior`` wrote into ``folder``."""
    title = "What a scan leaves open"
    if folder is None:
        note = missing("Not sampled, or not given with --posterior", "medlangevin posterior RUN IMAGE --out posterior")
        return Section("posterior", title, note)
    result = read_json(folder / SUMMARY)
    with _reading(folder / SUMMARY, "run medlangevin posterior again"):
        # The image's name is a pseudonym, and its own measures are a real ear's.
        body = f"<p>{html.escape(result['image'])}</p>" if with_real else ""
        body += f"<pre>{html.escape(format_posterior(result, with_scan=with_real))}</pre>"
    if with_real and (folder / POSTERIOR_PICTURE).is_file():
        body += picture(folder / POSTERIOR_PICTURE, "Chains, and each measure given the scan")
    return Section("posterior", title, body)


def _shape(synthetic: Path | None) -> str:
    folder = None if synthetic is None else synthetic / "shape"
    if folder is None or not (folder / "comparison.tsv").is_file():
        commands = "medlangevin generate RUN --count 100 --out synthetic; " if synthetic is None else ""
        commands += f"medlangevin shape {synthetic or 'synthetic'} --compare DATA"
        return missing("Not compared yet (then give the folder with --synthetic)", commands)
    about = _comparison(folder)
    if _is_stale(about, "first_origin", synthetic):
        return missing(_STALE, f"medlangevin shape {synthetic} --compare DATA")
    names = {which: str(about.get(which, which)) for which in _SETS}
    body = _measures(folder, names)
    sets = folder / "comparison_sets.tsv"
    if sets.is_file():
        title = f"both sets, {names['first']} judged by {names['second']}"
        with _reading(sets, "run medlangevin shape again"):
            body += f"<h3>As wholes: {html.escape(title)}</h3>{tsv_table(sets, partial(_named, names), needed='value')}"
    if (folder / "comparison.png").is_file():
        body += picture(folder / "comparison.png", "Each measure in both populations")
    return body


def _comparison(folder: Path) -> dict[str, Any]:
    """What a comparison says of itself, the names of its two sets among it."""
    path = folder / "comparison.json"
    with _reading(path, "run medlangevin shape again"):
        return dict(read_json(path)) if path.is_file() else {}


def _is_stale(record: dict[str, Any], key: str, synthetic: Path | None) -> bool:
    """Whether the volumes of ``synthetic`` are not those that ``record`` is about."""
    return synthetic is not None and record.get(key) is not None and record[key] != origin(synthetic)


def _named(names: dict[str, str], text: str) -> str:
    """``first_count``, and statistics that end in ``_first``, with the set's own name."""
    what, _, which = text.rpartition("_")
    if what in names and which == "count":
        return f"n, {names[what]}"
    return f"{what}, {names[which]}" if which in names else text


def _measures(folder: Path, names: dict[str, str]) -> str:
    """The comparison measure by measure, as wide as a page: the whole table stays in its file."""
    path = folder / "comparison.tsv"
    with _reading(path, "run medlangevin shape again"), path.open(encoding="utf-8", newline="") as file:
        heads = [f"{names[which]}: mean ± sd (n)" for which in _SETS]
        cells = [
            [
                row["measure"],
                *(_spread(row, which) for which in _SETS),
                *(_interval(row, *distance) for distance in _DISTANCES),
                _short(row["ks_p"]),
            ]
            for row in csv.DictReader(file, delimiter="\t")
        ]
    return table(["measure", *heads, "Wasserstein (95 %)", "Kolmogorov-Smirnov (95 %)", "KS p"], cells)


def _spread(row: dict[str, str], which: str) -> str:
    return f"{_short(row[f'{which}_mean'])} ± {_short(row[f'{which}_sd'])} ({row[f'{which}_count']})"


def _interval(row: dict[str, str], value: str, ends: str) -> str:
    return f"{_short(row[value])} ({_short(row[f'{ends}_low'])} to {_short(row[f'{ends}_high'])})"


def _short(value: str) -> str:
    return f"{float(value):.3g}" if value else "-"


def _copies(synthetic: Path | None, *, with_real: bool) -> str:
    folder = None if synthetic is None else synthetic / "audit"
    if folder is None or not (folder / RESULT).is_file():
        return missing("Not looked for yet", f"medlangevin audit RUN --synthetic {synthetic or 'synthetic'}")
    result = read_json(folder / RESULT)
    with _reading(folder / RESULT, "run medlangevin audit again"):
        if _is_stale(result, "synthetic_origin", synthetic):
            return missing(_STALE, f"medlangevin audit RUN --synthetic {synthetic}")
        body = f"<pre>{html.escape(format_audit(result))}</pre>"
    if with_real and (folder / PAIRS_PICTURE).is_file():
        body += picture(folder / PAIRS_PICTURE, "Synthetic ears, each beside its nearest training ear")
    return body
