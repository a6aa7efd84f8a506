"""Say what failed on the way, and fail unless so much is allowed."""

import json
import sys
from pathlib import Path


def verdict(crops: Path, shapes: list[Path], allowed: int) -> tuple[bool, str]:
    """Decide whether the work may be used.

    Args:
        crops: The folder of preprocess.
        shapes: The folders of shape.
        allowed: Scans and ears together that may have failed. Volumes that shape could not read are never allowed.

    Returns:
        Whether it may be used, and why.
    """
    status = json.loads((crops / "status.json").read_text(encoding="utf-8"))
    persons = list(status["persons"].values())
    scans = len(status["failures"]) + sum(len(person["failures"]) for person in persons)
    ears = sum(len(person["failed"]) for person in persons)
    unread = [str(shape / "failures.tsv") for shape in shapes if (shape / "failures.tsv").is_file()]
    lines = []
    if scans + ears:
        lines.append(
            f"scans without a crop: {scans}, ears that cannot be used: {ears}, allowed together: {allowed}; "
            f"see {crops}/failures.tsv and {crops}/qc/index.html"
        )
    if scans + ears > allowed:
        lines.append(f"repair or remove them and run again, or accept them with allowed_failures: {scans + ears}")
    lines += [f"volumes could not be read: see {path}" for path in unread]
    passed = scans + ears <= allowed and not unread
    return passed, "\n".join([f"gate: {'passed' if passed else 'NOT PASSED'}", *lines]) + "\n"


if "snakemake" in globals():
    job = globals()["snakemake"]
    passed, text = verdict(Path(job.params.crops), [Path(shape) for shape in job.params.shapes], job.params.allowed)
    Path(job.log[0]).write_text(text, encoding="utf-8")
    if not passed:
        sys.exit(text)
    Path(job.output[0]).write_text(text, encoding="utf-8")
