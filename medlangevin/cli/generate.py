"""medlangevin generate."""

from pathlib import Path
from typing import Any

import click

from medlangevin.cli.options import checkpoint_option, path_option, refine_option, run_argument, seed_option


@click.command()
@run_argument
@click.option("--count", type=click.IntRange(min=1), help="How many volumes to draw; not for --traverse.")
@path_option("--out", required=True, help="Folder to write them to.")
@seed_option("The same seed gives the same volumes.")
@click.option("--noise", is_flag=True, help="Add the noise that the model has learned; without it, smooth means.")
@click.option("--fitted", is_flag=True, help="Draw latents as those of the training crops lie, not from N(0, I).")
@path_option("--like", metavar="IMAGE", help="Draw around this ear's crop.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    help="With --like: 0 the reconstruction of the ear, 1 full posterior draws.  [default: 1]",
)
@click.option(
    "--between",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="IMAGE IMAGE",
    help="Go from one ear to the other in --count volumes, ends included.",
)
@click.option("--traverse", is_flag=True, help="Go along the leading latent directions of the training crops.")
@click.option("--directions", type=click.IntRange(min=1), help="With --traverse: how many.  [default: 3]")
@click.option("--steps", type=click.IntRange(min=2), help="With --traverse: volumes for each.  [default: 5]")
@path_option("--data", help="With --fitted or --traverse: the crops, if not where the run says.")
@refine_option
@checkpoint_option
def generate(
    run: Path,
    count: int | None,
    out: Path,
    like: Path | None,
    strength: float | None,
    traverse: bool,
    directions: int | None,
    steps: int | None,
    fitted: bool,
    data: Path | None,
    **options: Any,
) -> None:
    """Draw synthetic cochleae from a trained RUN.

    Writes NIfTI volumes in HU on the grid of the training crops, a JSON file each that says SYNTHETIC and holds the
    latent vector, and montage.png. Volume n depends on the run, the seed and n alone. Interrupted, the same command
    goes on.

    --fitted draws latents from a Gaussian with the mean and covariance of the training crops' latents. The prior
    N(0, I), from which they come without it, is often narrower or wider than these, and so are the ears: compare both
    with held-out ears by medlangevin shape --compare.

    --like draws z = m + S (z_i - m) about an ear: m is the latent that explains the image best, z_i a draw of a normal
    approximation of the posterior there, S the --strength. --between follows the great circle between two such
    latents, norms changing linearly. --traverse goes 2 standard deviations to either side along the principal
    directions of the training crops' latents.

    \b
    Examples:
      medlangevin generate runs/cochlea_qsl --count 50 --out synthetic/
      medlangevin generate runs/cochlea_qsl --count 50 --fitted --out synthetic/
      medlangevin generate runs/cochlea_qsl --like ear_ct.nii.gz --strength 0.5 --count 10 --out like_it/
      medlangevin generate runs/cochlea_qsl --between a_ct.nii.gz b_ct.nii.gz --count 7 --out path/
      medlangevin generate runs/cochlea_qsl --traverse --directions 3 --steps 5 --out directions/
    """
    from medlangevin.inference.generation import generate as generate_volumes
    from medlangevin.reports.montage import draw_generated
    from medlangevin.system.errors import MedlangevinError

    if strength is not None and like is None:
        raise MedlangevinError("--strength belongs to --like; add it or leave --strength out")
    if not traverse and (directions, steps) != (None, None):
        raise MedlangevinError("--directions and --steps belong to --traverse; add it or leave them out")
    if data is not None and not (traverse or fitted):
        raise MedlangevinError("--data belongs to --fitted or --traverse; add one of them or leave it out")
    if traverse and count is not None:
        raise MedlangevinError("--traverse draws --directions times --steps volumes; leave --count out")
    if not traverse and count is None:
        raise MedlangevinError("--count is missing; say how many volumes to draw")
    paths = generate_volumes(
        run,
        out,
        count=count,
        like=like,
        strength=1.0 if strength is None else strength,
        traverse=(directions or 3, steps or 5) if traverse else None,
        fitted=fitted,
        data_root=data,
        **options,
    )
    click.echo(f"{len(paths)} synthetic volumes in {out}")
    click.echo(f"picture {draw_generated(out, columns=(steps or 5) if traverse else None)}")
