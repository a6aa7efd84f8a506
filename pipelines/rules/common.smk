"""What both workflows share: checked settings, and how the command line is called."""

import shlex
import sys
from os.path import dirname
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version, validate

min_version("9.0")

# Exit code 1 says that some items failed and all others are done. A crash has the same code, and leaves a traceback.
ITEMS_MAY_FAIL = (
    'items_may_fail() ( log="$1"; shift; "$@" > "$log" 2>&1 || ( [ $? -eq 1 ] && ! grep -q ^Traceback "$log" ) )'
)


def settings(schema, *, example):
    """Check the settings against ``schema``, fill in its defaults, and make ``medlangevin`` callable in every rule."""
    if not config:
        raise WorkflowError(f"no settings were given; add --configfile {example}, or a copy of it with your own folders")
    validate(config, schema)
    command = config["command"] or f"{shlex.quote(sys.executable)} -m medlangevin"
    # Functions rather than params: another path to the same program is no reason to do everything again. In round
    # brackets, as curly ones are Snakemake's. Lightning takes what runs in a SLURM job for one of many processes that
    # srun started, unless the job is called interactive; here a training starts its processes itself (--devices).
    call = command.replace("{", "{{").replace("}", "}}")
    shell.prefix(f'medlangevin() ( SLURM_JOB_NAME=interactive exec {call} "$@" ); {ITEMS_MAY_FAIL}; ')


def options(command):
    """Further options of a command, as they stand in the settings."""
    return config["options"][command]
