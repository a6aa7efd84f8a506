"""The folder of the benchmark images."""

import os
from pathlib import Path

VARIABLE = "MEDLANGEVIN_DATA"
DEFAULT = Path("data/images")


def data_root(chosen: Path | str | None = None) -> Path:
    """``chosen`` (the value of ``--data-root``), else the variable MEDLANGEVIN_DATA, else ``data/images``.

    An empty value counts as not given; ``~`` is the home folder. The folder need not exist.
    """
    return Path(chosen or os.environ.get(VARIABLE) or DEFAULT).expanduser()
