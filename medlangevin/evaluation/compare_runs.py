"""How far two runs lie apart on the same ears, in pairs, as people differ by far more than models do."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from medlangevin.config import Config, load_config
from medlangevin.evaluation.evaluate import RESULTS
from medlangevin.evaluation.figure import Figure, figure_of
from medlangevin.runs.folder import CONFIG
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import read_json

_COMPARED = {"elbo": "ELBO", "nll": "NLL", "nll_encoder": "NLL of the encoder", "nll_ais": "NLL by AIS"}
# What has to be equal for two figures to be the same measure.
_MEASURE = {"elbo": (), "nll": ("samples",), "nll_encoder": ("samples",), "nll_ais": ("temperatures", "chains")}
# What stands beside a figure: an nll without it is of a version that called the encoder's figure so.
_BESIDE = {"nll": "effective_sample_size"}


def paired_differences(result: dict[str, Any], other: dict[str, Any]) -> dict[str, Figure]:
    """How much one run's figures lie above another's on the same ears, in nats.

    Args:
        result: One split of a run, as ``evaluate`` gives it.
        other: The same of the run to be subtracted.

    Returns:
        Of each figure that both measured in the same way, the mean over people of the mean over a person's ears, those
        left out that either did not measure. The standard error is over people, as a person's two ears are not two
        samples.

    Raises:
        MedlangevinError: The two are not of the same ears, or not of ears at all.
    """
    ours, theirs = _by_ear(result), _by_ear(other)
    if ours.keys() != theirs.keys():
        raise MedlangevinError(
            f"{result['run']} and {other['run']} were not evaluated on the same ears ({len(ours)} and {len(theirs)}, "
            f"{len(ours.keys() & theirs.keys())} in common); evaluate both with the same --data and --split"
        )
    differences: dict[str, Figure] = {}
    for name in _COMPARED:
        needed = {name, _BESIDE.get(name, name)}
        if not needed <= result.keys() & other.keys() or any(
            result.get(key) != other.get(key) for key in _MEASURE[name]
        ):
            continue
        difference = _over_people((ear[0], row[name], theirs[ear][name]) for ear, row in ours.items())
        if difference is not None:
            differences[name] = difference
    return differences


def linear_difference(result: dict[str, Any]) -> Figure | None:
    """How much a run's NLL lies above that of PPCA on the same ears, in pairs.

    Args:
        result: One split of a run, as ``evaluate`` gives it.

    Returns:
        The mean over people of the mean over a person's ears, in nats; None where either was not measured.
    """
    return _over_people((row["subject"], row.get("nll"), row.get("nll_ppca")) for row in result.get("ears", []))


def _over_people(pairs: Iterable[tuple[str, float | None, float | None]]) -> Figure | None:
    """Of (person, one figure, another) an ear: their difference, by person; None where no ear has both."""
    people: dict[str, list[float]] = defaultdict(list)
    for person, one, other in pairs:
        if one is not None and other is not None:
            people[person].append(one - other)
    return figure_of([fmean(ears) for ears in people.values()]) if people else None


def read_evaluation(run_dir: Path, split: str) -> dict[str, Any]:
    """What ``evaluate`` put on record of a run.

    Args:
        run_dir: The run.
        split: The split that it was evaluated on.

    Returns:
        The result.

    Raises:
        MedlangevinError: There is no such result, or it is damaged.
    """
    path = run_dir / RESULTS
    results = read_json(path) if path.is_file() else {}
    if not isinstance(results, dict) or not isinstance(results.get(split), dict):
        raise MedlangevinError(
            f"run {run_dir} has not been evaluated on the {split} split; run medlangevin evaluate {run_dir} "
            f"--split {split} first"
        )
    found: dict[str, Any] = results[split]
    rows = found.get("ears", [])
    if not (isinstance(found.get("run"), str) and isinstance(rows, list) and all(_is_row(row, found) for row in rows)):
        raise MedlangevinError(f"{path} is damaged; delete it and evaluate again")
    return found


def noise_doubt(run_dir: Path, other: Path) -> str | None:
    """A warning where the likelihoods of two runs differ, as nats of one cannot be compared with those of another.

    Args:
        run_dir: A run.
        other: The one that it is compared with.

    Returns:
        One line; None where they are the same, or the settings of a run are not there.
    """
    paths = [folder / CONFIG for folder in (run_dir, other)]
    if not all(path.is_file() for path in paths):
        return None
    ours, theirs = (_noise(load_config(path)) for path in paths)
    if ours == theirs:
        return None
    return f"{run_dir} and {other} have other likelihoods: nats of one say nothing about the other"


def _noise(config: Config) -> dict[str, Any]:
    """What decides what a nat is worth; a switch that is off is as good as absent."""
    settings = config.model.likelihood.model_dump(mode="json") | {"window_hu": config.data.window_hu}
    return {name: value for name, value in settings.items() if value is not False and name != "initial_scale"}


def _is_row(row: Any, found: dict[str, Any]) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ("subject", "side"))
        and all(name in row and isinstance(row[name], int | float | None) for name in _COMPARED if name in found)
    )


def format_differences(differences: dict[str, Figure], other: str) -> str:
    """Show differences for the terminal.

    Args:
        differences: What ``paired_differences`` gave.
        other: Name of the run that was subtracted.

    Returns:
        One line a figure.
    """
    if not differences:
        return f"minus {other}: no figure was measured in the same way; evaluate both with the same options"
    lines = [f"minus {other}, in pairs:"]
    for name, figure in differences.items():
        error = "" if figure.standard_error is None else f" +- {figure.standard_error:.1f}"
        label = f"{_COMPARED[name]}, nats per ear"
        lines.append(f"  {label:<34} {figure.mean:>+14,.1f}{error}  n = {figure.count} people")
    return "\n".join(lines)


def _by_ear(result: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    if "ears" not in result:
        raise MedlangevinError(
            f"{result.get('run', 'the run')} is not a run of ears; runs of images are compared by medlangevin benchmark"
        )
    return {(row["subject"], row["side"]): row for row in result["ears"]}
