"""What Langevin steps add to the bound of a trained VAE, over their size: its encoder and decoder stay as they are.

    python benchmarks/flow_steps.py RUN --data DIR [--ears 12] [--draws 4] [--steps 5]

RUN: a VAE of crops. Per ear of the test split, the bound with K steps of QSL-VAE minus the VAE's own ELBO, from the
same first draws; the mean and its standard error over ears. Above 0 is a gain. A step size is a number for all
dimensions, or a multiple ("x 0.3") of the mean standard deviation of the encoder's q in each.
"""

import argparse
from pathlib import Path

import torch

from medlangevin.datasets.crops import CropDataset
from medlangevin.datasets.datalist import read_index
from medlangevin.evaluation.figure import figure_of
from medlangevin.models import QSLVAE, LatentVariableModel
from medlangevin.training.randomness import generator
from medlangevin.training.run import load_run

SIZES = (0.001, 0.003, 0.01, 0.03, 0.1)
MULTIPLES = (0.03, 0.1, 0.2, 0.4)
FLOWS = (("flow", 0.0), ("annealed", 0.0), ("annealed", 0.1), ("annealed", 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the crops")
    parser.add_argument("--ears", type=int, default=12)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run, index = load_run(arguments.run), read_index(arguments.data)
    crops = CropDataset(index.test[: arguments.ears], index.shape, window_hu=run.config.data.window_hu, cache_mb=2048)
    x = torch.stack([crops[position] for position in range(len(crops))])
    model = run.model
    with torch.no_grad():
        spread = model.encoder(x)[1].mean(0)
    own = bounds(model, x, arguments.draws)
    gap = model.log_likelihood(x, 16 * arguments.draws, generator(0, "gap")) - own
    print(
        f"ELBO of the VAE {own.mean():.1f}; NLL by {16 * arguments.draws} importance samples is {mean(gap)} nats lower"
    )
    print(f"standard deviation of q by dimension: {spread.min():.4f} to {spread.max():.4f}")
    sizes = [(f"{size:g}", torch.full_like(spread, size)) for size in SIZES]
    sizes += [(f"x {multiple:g}", multiple * spread) for multiple in MULTIPLES]
    print(f"{'step size':>10}" + "".join(f"{f'{bound}, damping {damping:g}':>24}" for bound, damping in FLOWS))
    for name, size in sizes:
        cells = [mean(bounds(refined(model, arguments.steps, size, *flow), x, arguments.draws) - own) for flow in FLOWS]
        print(f"{name:>10}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


def refined(model: LatentVariableModel, steps: int, size: torch.Tensor, bound: str, damping: float) -> QSLVAE:
    """The VAE ``model`` with ``steps`` steps of ``size`` (d,) behind its encoder."""
    parts = {name: getattr(model, name) for name in ("encoder", "decoder", "likelihood", "latent_dim")}
    largest = 2 * float(size.max())
    sizes = {"step_size": largest / 2, "max_step_size": largest}
    flow = QSLVAE(**parts, **sizes, num_steps=steps, bound=bound, damping=damping)
    with torch.no_grad():
        flow.step_size_logit.copy_(torch.logit(size / largest))
    return flow.eval()


def bounds(model: LatentVariableModel, x: torch.Tensor, draws: int) -> torch.Tensor:
    """The bound of each image, (N,) in nats: the mean of ``draws``, which start alike for every model."""
    return torch.stack([model.elbo(x, generator(0, "bound", draw)) for draw in range(draws)]).mean(0)


def mean(values: torch.Tensor) -> str:
    """Mean and standard error over ears."""
    figure = figure_of(values.tolist())
    return f"{figure.mean:.2f} +- {figure.standard_error:.2f}"


if __name__ == "__main__":
    main()
