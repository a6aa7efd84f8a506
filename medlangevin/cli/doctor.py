"""medlangevin doctor."""

from pathlib import Path

import click


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Tell what works on this machine, what does not, and what to do about it.

    Packages, GPUs, DICOM decoders, disk, memory and data folders, a line each: ok, warn or fail. Asks nothing of the
    network and changes nothing. Exit code 1 when something that a command needs fails.

    \b
    Example:
      medlangevin doctor
    """
    from medlangevin.doctor.examine import examine

    failed = 0
    for finding in examine(Path.cwd()):
        click.echo(finding.line())
        failed += finding.state == "fail"
    if failed:
        ctx.exit(1)
