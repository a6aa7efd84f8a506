"""The ``medlangevin`` program: one group, one command a file, one place where errors become messages and exit codes."""

import sys

import click

from medlangevin import __version__
from medlangevin.cli.demo import demo
from medlangevin.cli.evaluate import evaluate
from medlangevin.cli.generate import generate
from medlangevin.cli.phantom import phantom
from medlangevin.cli.preprocess import preprocess
from medlangevin.cli.shape import shape
from medlangevin.cli.train import train
from medlangevin.errors import MedlangevinError, PartialFailureError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="medlangevin")
def main() -> None:
    """Temporal-bone CT in, aligned cochlea crops, a generative model and synthetic cochleae out.

    \b
    medlangevin preprocess --raw dicom/
    medlangevin train configs/cochlea_qsl.yaml
    medlangevin generate runs/cochlea_qsl --count 50 --out synthetic/
    medlangevin shape synthetic/ --compare data/cochlea

    No data at hand? medlangevin demo --out demo_output
    """


for command in (preprocess, train, evaluate, generate, shape, phantom, demo):
    main.add_command(command)


def run() -> None:
    """Run the command line. Exit codes: 0 done, 1 some items failed, 2 wrong use or bad input, 130 interrupted."""
    try:
        main(standalone_mode=False)
    except PartialFailureError as error:
        click.echo(f"warning: {error}", err=True)
        sys.exit(1)
    except MedlangevinError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)
