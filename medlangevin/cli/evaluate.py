"""medlangevin evaluate."""

from pathlib import Path
from typing import Any, Literal

import click

from medlangevin.cli.options import checkpoint_option, path_option, run_argument, seed_option


@click.command()
@run_argument
@click.option("--split", type=click.Choice(["training", "validation", "test"]), default="test", show_default=True)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="Importance samples for each ear or image.",
)
@seed_option("The same seed gives the same numbers.")
@path_option("--data", help="The crops or image sets, if not where the run's config says.")
@checkpoint_option
@path_option(
    "--compare",
    multiple=True,
    metavar="RUN",
    help="A run evaluated before on the same ears: differences in pairs; repeatable.",
)
@click.option("--decoder-likelihood", is_flag=True, help="Add the NLL by annealing, whatever the encoder; slow.")
@click.option("--temperatures", type=click.IntRange(min=2), help="Annealing: temperatures of the path.  [default: 500]")
@click.option("--chains", type=click.IntRange(min=1), help="Annealing: chains for each of them.  [default: 16]")
def evaluate(
    run: Path,
    split: Literal["training", "validation", "test"],
    data: Path | None,
    compare: tuple[Path, ...],
    **options: Any,
) -> None:
    """Measure how well a trained RUN explains ears or images: ELBO and negative log-likelihood with standard errors.

    Prints a table and writes RUN/evaluation.json, ear by ear; interrupted, the same command goes on. For a run of
    benchmark images, the negative ELBO of all images of the split, the NLLs of its first 1,000 and, annealed, of its
    first 100, per image and per dimension.

    The NLL says how well the model explains an ear: the lower, the better. It does not depend on the encoder. The
    latent that explains the ear best is found first, and samples are drawn around it. This takes seconds for each ear.
    An ear with fewer than 10 effective samples counts as not measured. The NLL by the encoder's samples stands beside
    it: a bound, thousands of nats too high on crops. So does the share of an ear's variance about the mean ear that its
    reconstruction explains.

    With --decoder-likelihood the NLL by annealed importance sampling is added. Believe it to a nat or so where at
    least half the chains are effective and twice the --temperatures do not change it. Minutes for each ear;
    interrupted, this part starts anew.

    People differ by far more than models, so runs are compared in pairs, by --compare with one evaluated before. PCA is
    fitted to the training ears each time, in seconds, as the control that a model has to beat.

    \b
    Example:
      medlangevin evaluate runs/cochlea_qsl --split validation --samples 100 --compare runs/cochlea_vae
    """
    from medlangevin.evaluation.compare_runs import (
        format_differences,
        linear_difference,
        noise_doubt,
        paired_differences,
        read_evaluation,
    )
    from medlangevin.evaluation.evaluate import RESULTS, format_result
    from medlangevin.evaluation.evaluate import evaluate as evaluate_run

    others = {other: read_evaluation(other, split) for other in compare}
    result = evaluate_run(run, split=split, data_root=data, **options)
    click.echo(format_result(result))
    if (linear := linear_difference(result)) is not None:
        click.echo(format_differences({"nll": linear}, "PPCA"))
    for other, before in others.items():
        click.echo(format_differences(paired_differences(result, before), str(other)))
        if (doubt := noise_doubt(run, other)) is not None:
            click.echo(doubt)
    click.echo(f"written to {run / RESULTS}")
