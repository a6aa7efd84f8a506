"""medlangevin export."""

from pathlib import Path
from typing import Literal

import click

from medlangevin.cli.options import checkpoint_option, path_option, run_argument


@click.command()
@run_argument
@path_option("--bundle", required=True, help="Folder to write the bundle to.")
@checkpoint_option
def export(run: Path, bundle: Path, checkpoint: Literal["best", "last"]) -> None:
    """Write a trained RUN as a MONAI bundle, to pass on or to run with MONAI.

    Weights (safetensors), configuration and a README: no ear, no pseudonym and no path of the training data. A bundle
    that export wrote before is replaced. docs/export.md says what to think of before you pass one on.

    \b
    Example:
      medlangevin export runs/cochlea_qsl --bundle bundles/cochlea_qsl
      cd bundles/cochlea_qsl
      python -m monai.bundle run --config_file configs/inference.json --count 10 --output_dir out
    """
    from medlangevin.inference.bundle.export import export as export_run

    folder = export_run(run, bundle, checkpoint=checkpoint)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"bundle {folder} ({size / 1e6:.1f} MB); see {folder / 'docs' / 'README.md'}")
