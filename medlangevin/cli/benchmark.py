"""medlangevin benchmark."""

from pathlib import Path
from typing import Any

import click

from medlangevin.cli.options import path_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@path_option("--out", required=True, help="Folder of the table; resumed if it exists.")
@path_option("--data-root", help="Folder of the image sets.  [default: MEDLANGEVIN_DATA or data/images]")
@click.option("--download", is_flag=True, help="Fetch image sets that are not there, where torchvision can.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Only cells like this, e.g. 'lae-*-seed0'; repeatable.")
@click.option("--list", "list_only", is_flag=True, help="Show every cell and its state, and do nothing.")
def benchmark(config: Path, out: Path, list_only: bool, **options: Any) -> None:
    """Train and evaluate every cell (model, image set, seed) of the table that CONFIG describes: a YAML file,
    or the name of one of the package's, such as smoke.

    Writes OUT/table.md and OUT/table.csv after each cell, with published figures beside the measured ones, and
    learning curves and samples at the end. Started again, it goes on where it stopped and measures nothing twice.
    Several processes may work on one OUT, each with an --only of its own; files in OUT/cells that were measured on
    another machine are taken as they are.

    \b
    Example:
      medlangevin benchmark configs/benchmarks/smoke.yaml --out results/smoke --only 'vae-*'
    """
    from medlangevin.papers.table.prepare import prepare, states
    from medlangevin.papers.table.run import require_no_failures, run
    from medlangevin.system.errors import MedlangevinError

    prepared = prepare(config, out, **options)
    if list_only:
        for name, state in states(prepared):
            click.echo(f"{name}: {state}")
        return
    failed = run(prepared)
    from medlangevin.papers.table.pictures import draw_table

    try:
        for path in draw_table(prepared):
            click.echo(f"picture {path}")
    except MedlangevinError as error:  # the table is what counts
        click.echo(f"warning: no pictures: {error}", err=True)
    click.echo(f"table {out / 'table.md'}")
    require_no_failures(failed)
