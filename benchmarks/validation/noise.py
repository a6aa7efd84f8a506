"""The noise in homogeneous bone: crops beside synthetic ears, or beside draws of noise alone about the mean crop.

    python benchmarks/validation/noise.py CROPS [SYNTHETIC] [--run RUN] [--split training] [--window -1000 2500]

CROPS: a folder that medlangevin preprocess wrote. SYNTHETIC: volumes of the same grid, of medlangevin generate --noise;
what texture the decoder gives to bone is in them as well. Without it, noise alone: of the likelihood of RUN, or of the
fit that a training with correlated noise would start from. All are measured where the mean crop has homogeneous bone:
patches of 8 voxels less a quadratic trend, none with clipped voxels. Figures are means over ears.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medlangevin.datasets.crop_arrays import to_unit
from medlangevin.datasets.crops import CropDataset
from medlangevin.datasets.datalist import read_index
from medlangevin.likelihoods.bone import HomogeneousBone, Noise
from medlangevin.likelihoods.noise import NoiseSpectrum
from medlangevin.likelihoods.noise_fit import fit_noise
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator
from medlangevin.system.nifti import read_volume

Volume = NDArray[np.float64]
DRAWS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("synthetic", type=Path, nargs="?")
    parser.add_argument("--run", type=Path, help="draw noise alone from the likelihood of this run")
    parser.add_argument("--split", choices=("training", "validation", "test"), default="training")
    parser.add_argument("--window", type=float, nargs=2, default=(-1000.0, 2500.0), metavar=("LOW", "HIGH"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    window = (arguments.window[0], arguments.window[1])
    index = read_index(arguments.crops)
    crops = CropDataset(index.split(arguments.split), index.shape, window_hu=window, cache_mb=2048)
    mean = crops.mean()
    bone = HomogeneousBone.of(mean[0].double().numpy(), window)
    real = measured(bone, (crops[position][0].double().numpy() for position in range(len(crops))))
    if arguments.synthetic:
        other = measured(bone, synthetic(arguments.synthetic, window))
        title = str(arguments.synthetic)
    elif arguments.run:
        other = measured(bone, run_draws(arguments.run, mean))
        title = f"noise of {arguments.run}"
    else:
        other = measured(bone, draws(crops, mean, window))
        title = "draws of the fit"
    report(real, other, title, window[1] - window[0])


def measured(bone: HomogeneousBone, ears: Iterable[Volume]) -> list[Noise]:
    found = [noise for noise in map(bone.noise, ears) if noise is not None]
    if not found:
        raise SystemExit("no homogeneous bone without clipped voxels; give crops of temporal bones and their window")
    return found


def synthetic(folder: Path, window: tuple[float, float]) -> Iterator[Volume]:
    for path in sorted(folder.glob("*.nii*")):
        yield to_unit(np.asarray(read_volume(path)[0], dtype=np.float64), window)


def draws(crops: CropDataset, mean: torch.Tensor, window: tuple[float, float]) -> Iterator[Volume]:
    fit = fit_noise((crops[position][None] for position in range(len(crops))), mean, window)
    print(fit.describe())
    spectrum = NoiseSpectrum(tuple(mean.shape[1:]))
    spectrum.set(fit.low_pass)
    for number in range(DRAWS):
        white = torch.randn(mean.shape[1:], generator=generator(0, "noise", number), dtype=torch.float64)
        yield (mean[0] + fit.scale * spectrum.colour(white)).numpy()


def run_draws(folder: Path, mean: torch.Tensor) -> Iterator[Volume]:
    likelihood = load_run(folder, checkpoint="last").model.likelihood
    for number in range(DRAWS):
        with torch.no_grad():
            draw = likelihood.sample(mean[None], generator(0, "noise", number))
        yield draw[0, 0].double().numpy()


def figures(noises: list[Noise], width: float) -> dict[str, float]:
    """By name: the standard deviation, and the autocorrelation along each axis at each lag."""
    found = {"standard deviation, HU": width * float(np.mean([noise.scale for noise in noises]))}
    for axis, values in zip("ijk", zip(*[noise.correlation for noise in noises], strict=True), strict=True):
        for lag, value in enumerate(np.mean(values, axis=0), start=1):
            found[f"autocorrelation, {axis}, lag {lag}"] = float(value)
    return found


def report(real: list[Noise], other: list[Noise], title: str, width: float) -> None:
    print(f"crops: {len(real)} ears, {sum(noise.patches for noise in real)} patches; {title}: {len(other)} ears")
    spread = [f"{width * level:.0f}" for level in np.quantile([noise.scale for noise in real], (0, 0.5, 1))]
    drawn = [f"{width * level:.0f}" for level in np.quantile([noise.scale for noise in other], (0, 0.5, 1))]
    print(f"standard deviation of an ear, HU, least, median, most: {', '.join(spread)}; {', '.join(drawn)}")
    print("| in homogeneous bone | crops | synthetic | difference |")
    print("|---|---|---|---|")
    for (name, before), after in zip(figures(real, width).items(), figures(other, width).values(), strict=True):
        difference = f"{100 * (after / before - 1):+.0f} %" if "HU" in name else f"{after - before:+.3f}"
        print(f"| {name} | {before:.3g} | {after:.3g} | {difference} |")


if __name__ == "__main__":
    main()
