"""medlangevin audit."""

from pathlib import Path
from typing import Literal

import click

from medlangevin.cli.options import checkpoint_option, path_option, refine_option, run_argument


@click.command()
@run_argument
@path_option("--synthetic", required=True, help="Folder that generate wrote.")
@path_option("--data", help="The crops, if not where the run's config says.")
@path_option("--out", help="Where to write.  [default: SYNTHETIC/audit]")
@refine_option
@checkpoint_option
def audit(
    run: Path,
    synthetic: Path,
    data: Path | None,
    out: Path | None,
    checkpoint: Literal["best", "last"],
    refine: bool,
) -> None:
    """Tell whether synthetic ears are copies of the ears that RUN was trained on.

    Compares each with its nearest training ear, in the images and in the latents, and with how near held-out ears
    come. Writes audit.tsv, audit.json and nearest_pairs.png, which shows real ears: keep it where the data are.

    \b
    Example:
      medlangevin audit runs/cochlea_qsl --synthetic synthetic/ --data data/cochlea
    """
    from medlangevin.evaluation.memorisation import audit as audit_run
    from medlangevin.evaluation.memorisation import format_audit
    from medlangevin.reports.montage import draw_pairs

    out = out or synthetic / "audit"
    click.echo(format_audit(audit_run(run, synthetic, data, out, checkpoint=checkpoint, refine=refine)))
    click.echo(f"picture {draw_pairs(out)}")
