"""medlangevin demo: the commands of a user's day, one after the other, on the digital phantom."""

import json
import time
from pathlib import Path

import click

from medlangevin.system.errors import MedlangevinError

# Small enough for two CPU cores and a few minutes; configs/cochlea_qsl.yaml is what a real cohort wants.
CONFIG = """\
# A small QSL-VAE on the phantom's crops, sized for a few minutes on two CPU cores.
name: demo
output_dir: {runs}
data:
  root: {cochlea}
model:
  kind: qsl_vae
  latent_dim: 8
  network:
    channels: [8, 16, 32]
    hidden: 128
  flow:
    steps: 2
training:
  epochs: 60
  batch_size: 4
  learning_rate: 0.002
  learning_rate_schedule: cosine
  warmup_epochs: 2
"""
EARS = 24
PICTURES = {
    "report.html": "all of it on one page, with a viewer",
    "cochlea/qc/index.html": "every crop with the reference's outline: is the ear where it should be?",
    "runs/demo/samples/curves.png": "learning curves",
    "runs/demo/samples/reconstructions.png": "held-out ears beside their reconstructions",
    "synthetic/montage.png": "synthetic cochleae, three planes each",
    "synthetic/shape/comparison.png": "synthetic against phantom ears, measure by measure",
}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo_output"), show_default=True, help="Folder.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the phantom ears.")
@click.pass_context
def demo(ctx: click.Context, out: Path, seed: int) -> None:
    """Run the whole job on an embedded data set, in two to five minutes.

    Phantom CT as DICOM, preprocess, a short training, generate, shape, audit, report: the same commands as for your own
    data, each printed before it runs. Interrupted, the same command goes on where it stopped.

    \b
    Example:
      medlangevin demo --out demo_output
    """
    config = out / "demo.yaml"
    # JSON strings are YAML strings, whatever characters the path has.
    text = CONFIG.format(runs=json.dumps(f"{out}/runs"), cochlea=json.dumps(f"{out}/cochlea"))
    _claim(out, config, text)
    group = ctx.find_root().command
    started = time.monotonic()
    for argv in (
        ["phantom", "--out", f"{out}/phantom", "--ears", str(EARS), "--seed", str(seed)],
        ["preprocess", "--raw", f"{out}/phantom/dicom", "--out", f"{out}/cochlea"],
        ["train", str(config), "--resume"],
        ["generate", f"{out}/runs/demo", "--count", "24", "--out", f"{out}/synthetic"],
        ["shape", f"{out}/synthetic", "--compare", f"{out}/cochlea"],
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


def _claim(out: Path, config: Path, text: str) -> None:
    """Make ``out`` the folder of a demo; refuse to mix one with other files."""
    from medlangevin.system.files import require_folder, write_text

    require_folder(out)
    if not config.is_file() and out.is_dir() and any(out.iterdir()):
        raise MedlangevinError(f"{out} holds other files; give an empty or new folder with --out")
    write_text(config, text)
