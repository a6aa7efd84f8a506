"""What Langevin steps add to the bound of a trained VAE, over their size: its encoder and decoder stay as they are.

    python benchmarks/validation/flow_steps.py RUN --data DIR [--split test] [--ears 12] [--draws 4] [--steps 5]
        [--unit posterior]

RUN: a VAE of crops. Per ear of the split, the bound with K steps of QSL-VAE minus the VAE's own ELBO, from the same
first draws; the mean and its standard error over ears. Above 0 is a gain. Step sizes are in units of z, or of the
standard deviations of the encoder's q. A start at temperature T0 is damped so that velocities end at one on average.
"""

import argparse
import math
from pathlib import Path
from typing import Literal

import torch

from medlangevin.datasets.crops import CropDataset
from medlangevin.datasets.datalist import read_index
from medlangevin.evaluation.figure import figure_of
from medlangevin.models import QSLVAE, LatentVariableModel
from medlangevin.models.vae import AmortizedModel
from medlangevin.runs.load import load_run
from medlangevin.runs.randomness import generator

SIZES = {"latent": (0.001, 0.003, 0.01, 0.03, 0.1), "posterior": (0.1, 0.2, 0.3, 0.45, 0.6, 0.9)}
# Bound, damping and initial temperature; the damping of a start above or below one follows from it.
FLOWS = (
    ("flow", 0.0, 1.0),
    ("flow", None, 1.2),
    ("flow", None, 1.5),
    ("annealed", 0.0, 1.0),
    ("annealed", 0.1, 1.0),
    ("annealed", 1.0, 1.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of the crops")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--unit", choices=tuple(SIZES), default="latent")
    parser.add_argument("--ears", type=int, default=12)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run, index = load_run(arguments.run), read_index(arguments.data)
    crops = CropDataset(
        index.split(arguments.split)[: arguments.ears], index.shape, window_hu=run.config.data.window_hu, cache_mb=2048
    )
    x = torch.stack([crops[position] for position in range(len(crops))])
    model = run.model
    assert isinstance(model, AmortizedModel)
    with torch.no_grad():
        spread = model.encoder(x)[1].mean(0)
    own = bounds(model, x, arguments.draws)
    gap = model.log_likelihood(x, 16 * arguments.draws, generator(0, "gap")) - own
    print(
        f"ELBO of the VAE {own.mean():.1f}; NLL by {16 * arguments.draws} importance samples is {mean(gap)} nats lower"
    )
    print(f"standard deviation of q by dimension: {spread.min():.4f} to {spread.max():.4f}")
    print(f"{'step size':>10}" + "".join(f"{heading(*flow):>24}" for flow in FLOWS))
    for size in SIZES[arguments.unit]:
        flows = (refined(model, arguments.steps, size, arguments.unit, *flow) for flow in FLOWS)
        cells = [mean(bounds(flow, x, arguments.draws) - own) for flow in flows]
        print(f"{size:>10g}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


def heading(bound: str, damping: float | None, temperature: float) -> str:
    """The column's heading of a flow."""
    return f"{bound}, T0 {temperature:g}" if damping is None else f"{bound}, damping {damping:g}"


def refined(
    model: LatentVariableModel,
    steps: int,
    size: float,
    unit: Literal["latent", "posterior"],
    bound: Literal["annealed", "flow"],
    damping: float | None,
    temperature: float,
) -> QSLVAE:
    """The VAE ``model`` with Langevin steps behind its encoder.

    Args:
        model: The VAE.
        steps: How many steps.
        size: Their size.
        unit: Of the size: units of z, or standard deviations of q.
        bound: Of the model with steps.
        damping: Of the flow; None for the one that ends a start at ``temperature`` at one on average.
        temperature: Of the velocities at the start.

    Returns:
        The model, in evaluation mode.
    """
    parts = {name: getattr(model, name) for name in ("encoder", "decoder", "likelihood", "latent_dim")}
    return QSLVAE(
        **parts,
        num_steps=steps,
        step_unit=unit,
        step_size=size,
        max_step_size=2 * size,
        bound=bound,
        damping=math.log(temperature) / (2 * steps * size) if damping is None else damping,
        initial_temperature=temperature,
    ).eval()


def bounds(model: LatentVariableModel, x: torch.Tensor, draws: int) -> torch.Tensor:
    """The bound of each image, by draws that start alike for every model.

    Args:
        model: The model.
        x: Images (N, 1, i, j, k).
        draws: The bound is the mean of so many.

    Returns:
        (N,) in nats.
    """
    return torch.stack([model.elbo(x, generator(0, "bound", draw)) for draw in range(draws)]).mean(0)


def mean(values: torch.Tensor) -> str:
    """Mean and standard error over ears.

    Args:
        values: (N,).

    Returns:
        Both in words.
    """
    figure = figure_of(values.tolist())
    return f"{figure.mean:.2f} +- {figure.standard_error:.2f}"


if __name__ == "__main__":
    main()
