"""The cells of the table, as the program itself makes them."""

from medlangevin.papers.table.cells import make_cells
from medlangevin.papers.table.schema import load_table
from medlangevin.system.errors import MedlangevinError

OUT = config["out"].rstrip("/")
TABLE = config["table"]
try:
    CELLS = [cell.id for cell in make_cells(load_table(TABLE), Path(OUT, "table"), source=TABLE)]
except MedlangevinError as error:
    raise WorkflowError(str(error)) from error


wildcard_constraints:
    cell="|".join(CELLS),
