"""medlangevin preprocess."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medlangevin.cli.options import path_option, workers_option

if TYPE_CHECKING:
    from medlangevin.imaging.cohort.summary import PreprocessSummary


@click.command()
@path_option("--raw", help="Folder of the scans: DICOM, NIfTI, NRRD, any tree.")
@path_option("--out", default=Path("data/cochlea"), show_default=True, help="Where crops go.")
@workers_option
@path_option("--reference", help="Reference ear, NIfTI in HU, instead of our own.")
@path_option("--key", help="Key file of the pseudonyms [default: OUT.key].")
@click.option(
    "--registration",
    "method",
    type=click.Choice(["block", "correlation"]),
    default="block",
    show_default=True,
    help="Block matching, or correlation alone as a cross-check.",
)
@click.option(
    "--series",
    multiple=True,
    metavar="NAME",
    help="Of this person use this series: its UID, its hash as in an output, or its folder. May be repeated.",
)
@path_option(
    "--exclude", help="File of pseudonyms and scans to leave out, one a line. Reruns without it leave out the same."
)
@click.option("--shard", metavar="K/N", help="Do the K-th of N shares only, as one of N jobs on a cluster.")
@click.option("--merge", is_flag=True, help="Finish OUT when all shards are done; needs no --raw.")
@path_option("--build-reference", help="Only make a mean ear of --raw, for --reference.")
def preprocess(
    raw: Path | None,
    out: Path,
    workers: int,
    reference: Path | None,
    key: Path | None,
    shard: str | None,
    merge: bool,
    build_reference: Path | None,
    **options: Any,
) -> None:
    """Find every cochlea in a folder of CT scans and write aligned, de-identified crops.

    Sides are told from the images. What cannot be used is listed with the reason, and the rest goes on. Run the same
    command again to go on after an interruption.

    \b
    Examples:
      medlangevin preprocess --raw dicom/ --out data/cochlea --workers 4
      medlangevin preprocess --raw dicom/ --out data/cochlea --shard 3/20
      medlangevin preprocess --merge --out data/cochlea
      medlangevin preprocess --raw dicom/ --build-reference mean_ear.nii.gz
    """
    from medlangevin.system.errors import MedlangevinError

    if not all(name.strip() for name in options["series"]):
        raise MedlangevinError("--series is empty; give it a SeriesInstanceUID, a series hash, or a folder or file")
    if merge:
        _refuse_others("--merge", "the shards have decided the rest", {"out"})
        from medlangevin.imaging.cohort.merge import merge as merge_shards

        _tell(merge_shards(out))
        return
    if raw is None:
        raise MedlangevinError("--raw is missing; give the folder of the scans")
    if build_reference is not None:
        wanted = "it takes all scans below --raw and writes the one file"
        _refuse_others("--build-reference", wanted, {"raw", "workers", "reference"})
        from medlangevin.imaging.cohort import build_reference as making

        built = making.build_reference_from_folder(raw, build_reference, reference=reference, workers=workers)
        click.echo(making.describe_built(built, raw, build_reference))
        making.require_all_used(built)
        return
    from medlangevin.imaging.cohort.preprocess import preprocess as run
    from medlangevin.imaging.cohort.status import parse_shard

    share = parse_shard(shard) if shard else None
    _tell(run(raw, out, reference=reference, key_file=key, workers=workers, shard=share, **options))


def _refuse_others(option: str, why: str, allowed: set[str]) -> None:
    """An option that would do nothing is a mistake that its user should know of."""
    from click.core import ParameterSource

    from medlangevin.system.errors import MedlangevinError

    context = click.get_current_context()
    names = {item.name: item.opts[0] for item in context.command.params if item.opts[0] != option}
    given = {name for name in names if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    others = [names[name] for name in names if name in given - allowed]
    if others:
        raise MedlangevinError(f"{option} makes no use of {', '.join(others)} ({why}); leave it out")


def _tell(summary: "PreprocessSummary") -> None:
    from medlangevin.imaging.cohort.summary import describe, require_no_failures

    click.echo(describe(summary))
    require_no_failures(summary)
