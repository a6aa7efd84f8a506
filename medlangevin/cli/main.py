"""The ``medlangevin`` program: one group, one command a file, one place where errors become messages and exit codes."""

import logging
from importlib import import_module
from typing import Any

import click

from medlangevin._version import __version__
from medlangevin.system.errors import MedlangevinError, PartialFailureError
from medlangevin.system.files import DISK_FAULTS


class _Problem(click.ClickException):
    exit_code, word = 2, "error"

    def show(self, file: Any = None) -> None:
        click.echo(f"{self.word}: {_one_line(self.message)}", file=file, err=file is None)


class _PartialFailure(_Problem):
    exit_code, word = 1, "warning"


def _one_line(text: str) -> str:
    """What a message repeats of a file or a name can neither break the line nor command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class _Lines(logging.Handler):
    """What the library logs, as plain lines on standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record))


class _Group(click.Group):
    """Exit codes: 0 done, 1 some items failed, 2 wrong use or bad input, 130 interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        library = logging.getLogger("medlangevin")
        # demo calls the program inside itself: one handler is enough.
        if not any(isinstance(handler, _Lines) for handler in library.handlers):
            lines = _Lines()
            library.setLevel(logging.INFO)
            library.addHandler(lines)
            ctx.call_on_close(lambda: library.removeHandler(lines))
        try:
            return super().invoke(ctx)
        except PartialFailureError as error:
            raise _PartialFailure(str(error)) from error
        except MedlangevinError as error:
            raise _Problem(str(error)) from error
        except OSError as error:
            if error.errno not in DISK_FAULTS:
                raise
            raise _Problem(f"{error.filename or 'the disk'}: {error.strerror}") from error
        except KeyboardInterrupt:
            click.echo("interrupted; finished work is kept", err=True)
            ctx.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="medlangevin")
def main() -> None:
    """Temporal-bone CT in, aligned cochlea crops, a generative model and synthetic cochleae out.

    \b
    medlangevin preprocess --raw dicom/
    medlangevin train configs/cochlea_qsl.yaml
    medlangevin generate runs/cochlea_qsl --count 50 --out synthetic/
    medlangevin shape synthetic/ --compare data/cochlea
    medlangevin report runs/cochlea_qsl --synthetic synthetic/ --out report.html

    No data at hand? medlangevin demo --out demo_output
    """


for name in (
    *("preprocess", "train", "evaluate", "generate", "posterior", "audit", "shape", "report", "export"),
    *("phantom", "demo", "toy", "benchmark", "doctor"),
):
    main.add_command(getattr(import_module(f"medlangevin.cli.{name}"), name))
