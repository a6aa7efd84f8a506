"""medlangevin demo: the commands of a user's day, one after the other, on the digital phantom."""

import time
from pathlib import Path

import click

EARS = 24
PICTURES = {
    "report.html": "all of it on one page, with a viewer",
    "cochlea/qc/index.html": "every crop with the reference's outline: is the ear where it should be?",
    "runs/demo/samples/curves.png": "learning curves",
    "runs/demo/samples/reconstructions.png": "held-out ears beside their reconstructions",
    "synthetic/montage.png": "synthetic cochleae, three planes each",
    "synthetic/shape/comparison.png": "synthetic against held-out phantom ears, measure by measure",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo_output"), show_default=True, help="Folder.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the phantom ears.")
@click.pass_context
def demo(ctx: click.Context, out: Path, seed: int) -> None:
    """Run the whole job on an embedded data set, in two to five minutes.

    Phantom CT as DICOM, preprocess, a short training, evaluate, generate, shape, audit, report: the same commands as
    for your own data, each printed before it runs. Interrupted, the same command goes on where it stopped.

    \b
    Example:
      medlangevin demo --out demo_output
    """
    from medlangevin.config.demo import KEY_FILE, write_demo_config

    config = write_demo_config(out)
    group = ctx.find_root().command
    started = time.monotonic()
    for argv in (
        ["phantom", "--out", f"{out}/phantom", "--ears", str(EARS), "--seed", str(seed)],
        ["preprocess", "--raw", f"{out}/phantom/dicom", "--out", f"{out}/cochlea", "--key", f"{out}/{KEY_FILE}"],
        ["train", str(config), "--resume"],
        ["evaluate", f"{out}/runs/demo"],
        ["generate", f"{out}/runs/demo", "--fitted", "--count", str(EARS), "--out", f"{out}/synthetic"],
        ["shape", f"{out}/synthetic", "--compare", f"{out}/cochlea", "--split", "validation", "--split", "test"],
        ["audit", f"{out}/runs/demo", "--synthetic", f"{out}/synthetic"],
        ["report", f"{out}/runs/demo", "--synthetic", f"{out}/synthetic", "--out", f"{out}/report.html"],
    ):
        click.secho(f"\n[{time.monotonic() - started:4.0f} s] $ medlangevin {' '.join(argv)}", bold=True)
        try:
            code = group.main(argv, prog_name="medlangevin", standalone_mode=False)
        except click.ClickException as failure:
            if failure.exit_code != 1:
                raise
            failure.show()
        else:
            if code:  # interrupted
                ctx.exit(code)
    click.secho(f"\nDone in {time.monotonic() - started:.0f} s. Look at:", bold=True)
    for name, what in PICTURES.items():
        click.echo(f"  {out / name}  {what}")
