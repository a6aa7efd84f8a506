"""What the columns of the shape tables mean: ``columns.json``, in the words of the tables' sidecars."""

from pathlib import Path
from typing import Any, Final

from medlangevin.system.files import read_json

# By table, then by column: ``Description`` and, for measures and cross-sections, ``LongName`` and ``Units``.
COLUMNS: Final[dict[str, dict[str, Any]]] = read_json(Path(__file__).with_name("columns.json"))
