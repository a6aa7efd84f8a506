"""What a bundle's configs/inference.json names, and ``python -m monai.bundle run`` calls."""

from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from medlangevin.inference.bundle.load import MODELS, load_bundle
from medlangevin.inference.generation import require_ours, write_volumes
from medlangevin.inference.latents import from_prior
from medlangevin.models.laplace import find_mode
from medlangevin.runs.checkpoint import WEIGHTS
from medlangevin.shape.volumes import find_volumes
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.files import write_text
from medlangevin.system.progress import progress

SAMPLES, LATENTS = "samples", "latents.tsv"


def sample(
    bundle: Path | str, output_dir: Path | str, *, count: int = 1, seed: int = 0, noise: bool = False
) -> list[Path]:
    """Write new ears into OUTPUT_DIR/samples: the files of ``medlangevin generate``.

    Args:
        bundle: The folder of the bundle.
        output_dir: OUTPUT_DIR.
        count: How many, at least 1.
        seed: Ear n depends on it and on n alone.
        noise: Add the noise that the likelihood has learned.

    Returns:
        The paths of the volumes.

    Raises:
        MedlangevinError: One line, before anything is written.
    """
    if count < 1:
        raise MedlangevinError(f"count {count}: at least 1 volume has to be asked for")
    out = Path(output_dir) / SAMPLES
    require_ours(out)
    run = load_bundle(bundle)
    latents = from_prior(run, count=count, seed=seed)
    weights, checkpoint = run.directory / MODELS / WEIGHTS, run.data["checkpoint"]
    return write_volumes(run, latents, out, weights=weights, checkpoint=checkpoint, seed=seed, noise=noise)


def encode(bundle: Path | str, output_dir: Path | str, *, image: Path | str | None) -> Path:
    """Write OUTPUT_DIR/latents.tsv: a row for each ear with the mode of its posterior, z1 to zd.

    Args:
        bundle: The folder of the bundle.
        output_dir: OUTPUT_DIR.
        image: A crop on the grid of the training crops, or a folder of them.

    Returns:
        The path of the table.

    Raises:
        MedlangevinError: One line, for an image that is missing, cannot be read or lies on another grid.
    """
    if image is None:
        raise MedlangevinError("image is missing; give a crop, or a folder of crops, with --image")
    paths = [volume.path for volume in find_volumes(image)] if Path(image).is_dir() else [Path(image)]
    run = load_bundle(bundle)
    rows = []
    with progress(len(paths), "ear") as track:
        for number, path in enumerate(paths):
            latent = run.encode(path).tolist()
            rows.append({"image": path.name} | {f"z{index}": value for index, value in enumerate(latent, start=1)})
            track.advance(number + 1)
    table = Path(output_dir) / LATENTS
    # Nine digits give each float32 back exactly.
    write_text(table, pd.DataFrame(rows).to_csv(sep="\t", index=False, float_format="%.9g"))
    return table


class Encoder(nn.Module):
    """The bundle's network for MONAI: images (n, 1, i, j, k) in [0, 1] to the modes of their posteriors (n, d)."""

    def __init__(self, bundle: Path | str) -> None:
        super().__init__()
        self.model = load_bundle(bundle).model

    def forward(self, x: Tensor) -> Tensor:
        """The latents of ``encode``.

        Args:
            x: Images (n, 1, i, j, k) in [0, 1].

        Returns:
            (n, d).
        """
        return find_mode(self.model, x)
