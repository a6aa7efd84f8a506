"""What the report says of a run, its data and one scan, each from files that other commands wrote."""

from collections import Counter
from pathlib import Path
from typing import Any

from medlangevin.datasets.datalist import SPLITS, CropIndex
from medlangevin.evaluation.evaluate import RESULTS, format_result
from medlangevin.inference.posterior import PICTURE, SUMMARY, format_posterior
from medlangevin.reports.report_parts import Missing, Picture, picture, picture_if_any
from medlangevin.reports.run_pictures import PICTURES
from medlangevin.runs.folder import ENVIRONMENT, METRICS
from medlangevin.runs.metrics import read_metrics
from medlangevin.runs.run import Run
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json, reading

# Pictures of this many ears: the least trusted ones.
QC_PICTURES = 6
_ENVIRONMENT = ("medlangevin", "torch", "python", "device", "platform")


def run_facts(run: Run) -> list[tuple[str, object]]:
    """Tell what was trained, and where.

    Args:
        run: The run.

    Returns:
        Names and values.

    Raises:
        MedlangevinError: Where metrics.csv or environment.json is damaged.
    """
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
        with reading(environment, "delete it"):
            about = read_json(environment)
            about |= about.get("packages", {})
            facts += [(name, str(about[name])) for name in _ENVIRONMENT if about.get(name)]
    return facts


def run_picture(run: Run, name: str, caption: str) -> Picture | Missing:
    """Read one of the pictures that ``train`` drew.

    Args:
        run: The run.
        name: ``curves``, ``reconstructions`` or ``samples``.
        caption: What to say below it.

    Returns:
        The picture, or what to run where it has not been drawn.
    """
    found = picture_if_any(run.directory / PICTURES / f"{name}.png", caption)
    return found or Missing("Not drawn yet", "medlangevin train CONFIG --resume")


def likelihood(run: Run) -> dict[str, Any] | Missing:
    """Tell what ``evaluate`` found.

    Args:
        run: The run.

    Returns:
        ``texts``, one for each split, or what to run.

    Raises:
        MedlangevinError: Where evaluation.json is damaged.
    """
    path = run.directory / RESULTS
    if not path.is_file():
        return Missing("Not evaluated yet", "medlangevin evaluate RUN")
    results = read_json(path)
    with reading(path, "delete it and evaluate again"):
        return {"texts": [f"{split}:\n{format_result(results[split])}" for split in SPLITS if split in results]}


def data(run: Run, index: CropIndex, *, with_real: bool) -> dict[str, Any]:
    """Tell how many crops there are, and what their registration was judged.

    Args:
        run: The run.
        index: The crops.
        with_real: Whether pictures of real ears may be shown.

    Returns:
        ``splits`` (name, ears, people), ``validated_on``, and ``registration``: ``verdicts`` and ``pictures`` of the
        least trusted ears, or what to run.

    Raises:
        MedlangevinError: Where the JSON file beside a crop is damaged.
    """
    crops = [ear for name in SPLITS for ear in index.split(name)]
    sidecars = [ear.image.with_name(ear.image.name.removesuffix(".nii.gz") + ".json") for ear in crops]
    records = [(ear, _registration(path)) for ear, path in zip(crops, sidecars, strict=True) if path.is_file()]
    verdicts = Counter(str(record.get("verdict")) for _, record in records)
    listed = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
    pictures = []
    if with_real:
        records.sort(key=lambda item: (item[1].get("verdict") == "ok", item[1]["ncc"] or 0.0))
        for ear, record in records[:QC_PICTURES]:
            path = index.root / "qc" / f"{ear.image.name.removesuffix('.nii.gz')}.png"
            if path.is_file():
                why = record.get("why") or f"correlation {record['ncc'] or float('nan'):.2f}"
                caption = f"sub-{ear.subject} side {ear.side}: {record.get('verdict')}, {why}"
                pictures.append(picture(path, caption))
    return {
        "splits": [(name, len(ears := index.split(name)), len({ear.subject for ear in ears})) for name in SPLITS],
        "validated_on": str(run.data.get("validation_source", "unknown")),
        "registration": {"verdicts": listed, "pictures": pictures}
        if records
        else Missing("No registration figures", "medlangevin preprocess"),
    }


def _registration(sidecar: Path) -> dict[str, Any]:
    """What preprocess wrote beside a crop; ``ncc`` is a number or None."""
    record = read_json(sidecar)
    if not isinstance(record, dict) or not isinstance(record.setdefault("ncc", None), int | float | None):
        raise MedlangevinError(f"{sidecar} is damaged; delete it, and run medlangevin preprocess again")
    return record


def posterior(folder: Path | None, *, with_real: bool) -> dict[str, Any] | Missing:
    """Tell what a scan leaves open about each measure.

    Args:
        folder: What ``posterior`` wrote, if anything.
        with_real: Whether the image's name (a pseudonym) and its own measures (a real ear's) may be shown.

    Returns:
        ``image``, ``text`` and ``picture`` (or None), or what to run.

    Raises:
        MedlangevinError: Where summary.json is damaged.
    """
    if folder is None:
        return Missing("Not sampled, or not given with --posterior", "medlangevin posterior RUN IMAGE --out posterior")
    result = read_json(folder / SUMMARY)
    with reading(folder / SUMMARY, "run medlangevin posterior again"):
        return {
            "image": str(result["image"]) if with_real else "",
            "text": format_posterior(result, with_scan=with_real),
            "picture": picture_if_any(folder / PICTURE, "Chains, and each measure given the scan")
            if with_real
            else None,
        }
