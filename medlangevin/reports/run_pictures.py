"""The pictures of a finished run: learning curves, reconstructions and samples."""

from pathlib import Path

import torch

from medlangevin.datasets.crops import CropDataset, choose_splits
from medlangevin.datasets.datalist import read_index
from medlangevin.reports.curves import save_curves
from medlangevin.reports.montage import save_montage
from medlangevin.training.metrics import read_metrics
from medlangevin.training.randomness import generator
from medlangevin.training.run import METRICS, load_run

SAMPLES = 24
RECONSTRUCTIONS = 8


def draw_run(run_dir: Path | str) -> list[Path]:
    """Write ``samples/{curves,reconstructions,samples}.png`` of a run from its best checkpoint; the paths.

    Needs the crops that the run was trained on where its config says they are. Raises MedlangevinError.
    """
    run = load_run(run_dir)
    folder = run.directory / "samples"
    curves, reconstructions, samples = (folder / f"{name}.png" for name in ("curves", "reconstructions", "samples"))
    save_curves(read_metrics(run.directory / METRICS), curves, title=f"Learning curves of {run.name}")

    index = read_index(run.config.data.root)
    ears = choose_splits(index).validation[:RECONSTRUCTIONS]
    data = CropDataset(ears, index.shape, window_hu=run.config.data.window_hu, cache_mb=0)
    x = torch.stack([data[position] for position in range(len(data))])
    decoded = run.model.reconstruct(x, generator(run.config.seed, "pictures"))
    pairs = torch.stack([x, decoded], dim=1).flatten(0, 1)[:, 0].numpy()
    labels = [f"{ear.subject} {ear.side} {what}" for ear in ears for what in ("CT", "reconstruction")]
    title = f"{run.name}, epoch {run.state.epoch}: validation ears and their reconstructions"
    save_montage(list(pairs), reconstructions, labels=labels, title=title, window=(0, 1), columns=2)

    drawn = run.model.sample(SAMPLES, generator(run.config.seed, "samples"))[:, 0].numpy()
    title = f"{run.name}, epoch {run.state.epoch}: SYNTHETIC cochleae"
    labels = [f"sample {number + 1}" for number in range(SAMPLES)]
    save_montage(list(drawn), samples, labels=labels, title=title, window=(0, 1))
    return [curves, reconstructions, samples]
