"""The cells of the table, as medlangevin benchmark TABLE --list names them."""

import yaml

OUT = config["out"].rstrip("/")
TABLE = config["table"]
try:
    content = yaml.safe_load(Path(TABLE).read_text(encoding="utf-8"))
    CELLS = [
        f"{row}-{data_set}-seed{seed}"
        for row, settings_of_row in content["rows"].items()
        for data_set, seeds in settings_of_row.get("seeds", {}).items()
        for seed in seeds
    ]
except OSError as error:
    raise WorkflowError(f"{TABLE} cannot be read ({error.strerror}); give the file of a table as table") from error
except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
    raise WorkflowError(f"{TABLE} describes no table; medlangevin benchmark {TABLE} --out DIR --list says why") from error


wildcard_constraints:
    cell="|".join(CELLS),
