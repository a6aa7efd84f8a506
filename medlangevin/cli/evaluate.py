"""medlangevin evaluate."""

from pathlib import Path
from typing import Literal

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["training", "validation", "test"]), default="test", show_default=True)
@click.option(
    "--samples", type=click.IntRange(min=1), default=50, show_default=True, help="Importance samples for each ear."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same numbers.")
@click.option("--data", type=click.Path(path_type=Path), help="The crops, if not where the run's config says.")
@click.option("--checkpoint", type=click.Choice(["best", "last"]), default="best", show_default=True)
def evaluate(
    run: Path,
    split: Literal["training", "validation", "test"],
    samples: int,
    seed: int,
    data: Path | None,
    checkpoint: Literal["best", "last"],
) -> None:
    """Measure how well a trained RUN explains ears: ELBO and negative log-likelihood with standard errors.

    Prints a table and writes RUN/evaluation.json, ear by ear.

    \b
    Example:
      medlangevin evaluate runs/cochlea_qsl --split validation --samples 100
    """
    from medlangevin.evaluation.likelihood import evaluate as evaluate_run
    from medlangevin.evaluation.likelihood import format_result

    result = evaluate_run(run, split=split, samples=samples, seed=seed, data_root=data, checkpoint=checkpoint)
    click.echo(format_result(result))
    click.echo(f"written to {run / 'evaluation.json'}")
