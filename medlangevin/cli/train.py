"""medlangevin train."""

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the file, e.g. training.epochs=5."
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint; start if there is none.")
def train(config: Path, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a generative model on the crops that preprocess wrote, as CONFIG (a YAML file) says.

    Writes a run to runs/NAME: the resolved configuration, metrics.csv, TensorBoard events, the last and the best
    checkpoint, learning curves, reconstructions and samples. Stops early when the validation ELBO stops gaining.

    \b
    Example:
      medlangevin train configs/cochlea_qsl.yaml --set training.epochs=50 --set name=short
    """
    from medlangevin.config import load_config
    from medlangevin.reports.run_pictures import draw_run
    from medlangevin.training.train import train as train_run

    run_dir = train_run(load_config(config, overrides), resume=resume)
    for path in draw_run(run_dir):
        click.echo(f"picture {path}")
