"""Does a model copy its training ears? Nearest training neighbours of synthetic ears against those of held-out ears.

In two spaces: images, averaged over 2 x 2 x 2 voxels so that noise and shifts below a voxel count little, root mean
square in HU; and latents of the (real or synthetic) image as ``Run.encode`` finds them, Euclidean.

The score of an ear is the distance to its nearest training ear over that to the nearest ear of another person: near
0 for a copy, near 1 for an ear that resembles many alike. A distance alone would accuse every smooth mean image, which
lies nearer to all ears than a noisy scan does. A synthetic ear is flagged where its score is below that of every
held-out real ear, in both spaces: of n held-out ears and a fresh one, exchangeable, the fresh one has the lowest score
with probability 1 / (n + 1), so at most that share of fresh ears is flagged in error.

Over all ears together, the rank test of Meehan et al. (2020, A non-parametric test to detect data-copying in generative
models), on one cell and with these scores: Mann-Whitney's U of synthetic against held-out scores, one-sided.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from medlangevin._version import __version__
from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import Ear
from medlangevin.inference.ear_posteriors import ear_posteriors
from medlangevin.inference.generation import origin
from medlangevin.runs.folder import CheckpointName
from medlangevin.runs.load import load_run
from medlangevin.runs.run import Run
from medlangevin.shape.volumes import Volume, find_volumes
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import require_own_folder, sweep, write_json, write_tsv
from medlangevin.system.progress import progress

TABLE, RESULT, PICTURE = "audit.tsv", "audit.json", "nearest_pairs.png"
# Ears compared at a time: memory holds these and one training ear, whatever the size of the cohort.
BLOCK = 64
_SPACES = ("image", "latent")
Array = NDArray[np.float64]


class Neighbours(NamedTuple):
    """The nearest training ears of each query (n,).

    Attributes:
        distance: To the nearest training ear.
        position: Its number.
        other: Distance to the nearest ear of another person.
    """

    distance: Array
    position: NDArray[np.int64]
    other: Array

    @property
    def score(self) -> Array:
        """Nearest over second nearest, in [0, 1]; 1 where both are 0, as for a training set of doubles."""
        return np.divide(self.distance, self.other, out=np.ones_like(self.distance), where=self.other > 0)


def nearest(queries: Array, training: Iterator[tuple[Array, str]]) -> Neighbours:
    """Find the nearest training ears, which are seen one at a time.

    A person's two ears are alike, so the second nearest is the nearest among people other than the nearest ear's.

    Args:
        queries: Vectors (n, d).
        training: (vector (d,), person) pairs.

    Returns:
        Distances are root mean squares over d; ``other`` is infinite where there is no other person.
    """
    first, second = np.full(len(queries), np.inf), np.full(len(queries), np.inf)
    position = np.full(len(queries), -1)
    owner = np.full(len(queries), "", dtype=object)
    for number, (vector, person) in enumerate(training):
        distance = np.sqrt(np.mean((queries - vector) ** 2, axis=1))
        closer, same = distance < first, owner == person
        # The former nearest becomes the nearest other, unless it is the same person's ear.
        second = np.where(closer & ~same, first, np.where(~closer & ~same, np.minimum(second, distance), second))
        position, owner = np.where(closer, number, position), np.where(closer, person, owner)
        first = np.where(closer, distance, first)
    return Neighbours(first, position, second)


def p_values(synthetic: Array, held_out: Array) -> Array:
    """How rarely a held-out ear scores as low as a synthetic one: conformal p values, exact.

    Args:
        synthetic: Scores (n,).
        held_out: Scores (m,).

    Returns:
        (1 + number of held-out scores not above the synthetic one) / (m + 1), (n,): small for a copy.
    """
    return (1 + (held_out[None, :] <= synthetic[:, None]).sum(1)) / (len(held_out) + 1)


def copying_test(synthetic: Array, held_out: Array) -> dict[str, float]:
    """Test of all synthetic ears together (Meehan et al. 2020).

    Args:
        synthetic: Scores (n,).
        held_out: Scores (m,).

    Returns:
        ``z`` of Mann-Whitney's U (far below 0: copies), and its one-sided ``p`` value.
    """
    n, m = len(synthetic), len(held_out)
    result = stats.mannwhitneyu(synthetic, held_out, alternative="less")
    z = (float(result.statistic) - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return {"z": z, "p": float(result.pvalue)}


def audit(
    run_dir: Path | str,
    synthetic: Path | str,
    data_root: Path | str | None,
    out: Path | str,
    *,
    checkpoint: CheckpointName = "best",
    refine: bool = True,
) -> dict[str, Any]:
    """Compare synthetic ears with the training ears of a run, and write ``audit.tsv`` and ``audit.json``.

    ``audit.tsv`` has a row a synthetic ear: its nearest training ear, distances, scores and p values in both spaces,
    and whether it is flagged. Held-out ears are those of the validation and test splits.

    Args:
        run_dir: The run.
        synthetic: Folder of the synthetic ears.
        data_root: Folder of the crops if not where the run's config says.
        out: Where to write.
        checkpoint: Which weights of the run.
        refine: Find latents at each ear rather than by the encoder (``load_run``).

    Returns:
        What ``audit.json`` holds.

    Raises:
        MedlangevinError: There are no held-out ears, fewer than two people were trained on, or ``out`` holds other
            files; one line, and before anything is written.
    """
    out = Path(out)
    require_own_folder(out, {TABLE, RESULT, PICTURE}, "audit")
    run = load_run(run_dir, checkpoint=checkpoint, refine=refine)
    index = run.crops(data_root)
    splits = choose_splits(index)
    people = {ear.subject for ear in splits.training}
    held_out = [ear for ear in (*splits.validation, *index.test) if ear.subject not in people]
    if not held_out:
        raise MedlangevinError(
            f"{index.root} holds no ears that run {run.name} was not trained on, so there is nothing to compare with; "
            "give a --data with a validation or test split"
        )
    if len(people) < 2:
        raise MedlangevinError(
            f"{index.root} has training ears of fewer than two people, so copies cannot be told; train on more"
        )
    volumes = find_volumes(synthetic)
    known = _encode(run, splits.training)
    found = {
        "synthetic": _neighbours(run, [volume.path for volume in volumes], known, "synthetic"),
        "held_out": _neighbours(run, [ear.image for ear in held_out], known, "held-out ear"),
    }
    result = _result(volumes, splits.training, found)
    result |= {
        "run": run.name,
        "synthetic": str(synthetic),
        "synthetic_origin": origin(Path(synthetic)),
        "data": str(index.root),
        "held_out": len(held_out),
        "held_out_from": f"{splits.validation_source}, and the test split",
        "training": len(splits.training),
        "false_flag_rate_at_most": 1 / (len(held_out) + 1),
        "software": f"medlangevin {__version__}",
    }
    if out.is_dir():
        sweep(out)
    rows = result["ears"]
    write_tsv(out / TABLE, [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)])
    write_json(out / RESULT, result)
    return result


class _Known(NamedTuple):
    """The training ears, how to read one, and the latents of all (n, d)."""

    ears: Sequence[Ear]
    images: CropDataset
    latents: Array


def _encode(run: Run, training: Sequence[Ear]) -> _Known:
    images = CropDataset(training, run.crop_grid().shape, window_hu=run.config.data.window_hu, cache_mb=0)
    return _Known(training, images, ear_posteriors(run, training).mean.double().numpy())


def _neighbours(run: Run, paths: Sequence[Path], known: _Known, label: str) -> dict[str, Neighbours]:
    """Neighbours in both spaces, ``BLOCK`` queries at a time, the training ears read once for each block."""
    low, high = run.config.data.window_hu
    people = [ear.subject for ear in known.ears]
    parts: dict[str, list[Neighbours]] = {space: [] for space in _SPACES}
    with progress(len(paths), label) as track:
        for start in range(0, len(paths), BLOCK):
            embedded = [
                (_coarse(run.image(path)), run.encode(path).double().numpy()) for path in paths[start : start + BLOCK]
            ]
            images = ((_coarse(known.images[number][None]), person) for number, person in enumerate(people))
            near = nearest(np.stack([image for image, _ in embedded]), images)
            scaled = Neighbours(near.distance * (high - low), near.position, near.other * (high - low))
            parts["image"].append(scaled)
            latents = np.stack([latent for _, latent in embedded])
            parts["latent"].append(nearest(latents, zip(known.latents, people, strict=True)))
            track.advance(start + len(embedded))
    return {space: Neighbours(*(np.concatenate(part) for part in zip(*parts[space], strict=True))) for space in parts}


def _coarse(x: torch.Tensor) -> Array:
    return torch.nn.functional.avg_pool3d(x, 2, ceil_mode=True).flatten().double().numpy()


def _result(
    volumes: Sequence[Volume], training: Sequence[Ear], found: dict[str, dict[str, Neighbours]]
) -> dict[str, Any]:
    scores = {group: {space: found[group][space].score for space in _SPACES} for group in found}
    p = {space: p_values(scores["synthetic"][space], scores["held_out"][space]) for space in _SPACES}
    lowest = 1 / (len(scores["held_out"]["image"]) + 1)
    rows = []
    for number, volume in enumerate(volumes):
        row: dict[str, Any] = {"volume": volume.name}
        for space in _SPACES:
            near = found["synthetic"][space]
            row[f"{space}_nearest"] = training[near.position[number]].image.name
            row[f"{space}_distance"] = float(near.distance[number])
            row[f"{space}_score"] = float(scores["synthetic"][space][number])
            row[f"{space}_p"] = float(p[space][number])
        row["copy"] = all(p[space][number] <= lowest * (1 + 1e-9) for space in _SPACES)
        rows.append(row)
    return {
        "copies": [row["volume"] for row in rows if row["copy"]],
        "copying_test": {space: copying_test(*(scores[group][space] for group in found)) for space in _SPACES},
        "held_out_scores": {space: scores["held_out"][space].tolist() for space in _SPACES},
        "ears": rows,
    }


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def format_audit(result: dict[str, Any]) -> str:
    """Show what was found in a few lines.

    Args:
        result: What ``audit`` gave.

    Returns:
        How many look like copies, the test of all together, and the copies.
    """
    rows = result["ears"]
    lines = [
        f"{len(result['copies'])} of {len(rows)} synthetic ears look like copies of a training ear "
        f"(by chance at most {result['false_flag_rate_at_most']:.1%} of fresh ears would; "
        f"{result['training']} training, {result['held_out']} held-out ears)"
    ]
    for space, test in result["copying_test"].items():
        lines.append(f"  all together, {space}: z = {test['z']:+.2f}, p = {test['p']:.3g} (small: too near)")
    return "\n".join([*lines, *(f"  copy: {name}" for name in result["copies"])])
