"""medlangevin train."""

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the file, e.g. training.epochs=5."
)
@click.option("--devices", type=click.IntRange(1), help="Processes on this machine, one a GPU.  [default: 1]")
@click.option("--nodes", type=click.IntRange(1), help="Machines, by torchrun or SLURM.  [default: 1]")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint; start if there is none.")
def train(config: Path, overrides: tuple[str, ...], devices: int | None, nodes: int | None, resume: bool) -> None:
    """Train a generative model on the crops that preprocess wrote, as CONFIG says: a YAML file,
    or the name of one of the package's, such as cochlea_qsl.

    Writes a run to runs/NAME: the resolved configuration, metrics.csv, TensorBoard events, the last and the best
    checkpoint, learning curves, reconstructions and samples. Stops early when the validation ELBO stops gaining.
    Several processes share every batch and end where one would, up to rounding; torchrun and SLURM start them too:
    torchrun --nproc-per-node 4 -m medlangevin train CONFIG --devices 4

    \b
    Example:
      medlangevin train configs/cochlea_qsl.yaml --set training.epochs=50 --set name=short
    """
    from medlangevin.config import load_config
    from medlangevin.reports.run_pictures import draw_run
    from medlangevin.system.distributed import is_first
    from medlangevin.training.train import train as train_run

    given = {"training.devices": devices, "training.nodes": nodes}
    overrides += tuple(f"{key}={value}" for key, value in given.items() if value is not None)
    run_dir = train_run(load_config(config, overrides, aliases=True), resume=resume)
    if is_first():
        for path in draw_run(run_dir):
            click.echo(f"picture {path}")
