"""medlangevin preprocess."""

import os
from pathlib import Path

import click


@click.command()
@click.option("--raw", type=click.Path(path_type=Path), required=True, help="Folder of the scans: DICOM, any tree.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("data/cochlea"), show_default=True, help="Where crops go."
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default="all cores", help="Processes."
)
@click.option("--reference", type=click.Path(path_type=Path), help="Reference ear, NIfTI in HU, instead of our own.")
@click.option("--key", type=click.Path(path_type=Path), help="Key file of the pseudonyms [default: OUT.key].")
def preprocess(raw: Path, out: Path, workers: int, reference: Path | None, key: Path | None) -> None:
    """Find every cochlea in a folder of CT scans and write aligned, de-identified crops.

    Sides are told from the images. What cannot be used is listed with the reason, and the rest goes on. Run the same
    command again to go on after an interruption.

    \b
    Example:
      medlangevin preprocess --raw dicom/ --out data/cochlea --workers 4
    """
    from medlangevin.errors import PartialFailureError
    from medlangevin.imaging.preprocess import preprocess as run
    from medlangevin.imaging.summary import describe

    summary = run(raw, out, reference=reference, key_file=key, workers=workers)
    click.echo(describe(summary))
    if summary.failures:
        raise PartialFailureError(
            f"{len(summary.failures)} CT series gave no crop; reasons above and in {summary.out / 'failures.tsv'}"
        )
