"""The tables under docs/results, written again from their cells, are what is committed, to the byte."""

from pathlib import Path

import pytest

from medlangevin.papers.table.cells import make_cells
from medlangevin.papers.table.markdown import markdown
from medlangevin.papers.table.records import read_failures, read_records, record_path, require_same, write_record
from medlangevin.papers.table.results import Results
from medlangevin.papers.table.schema import load_table

ROOT = Path(__file__).parents[3]
FOLDERS = sorted(path.parent for path in (ROOT / "docs" / "results").glob("*/cells"))


def test_there_are_tables() -> None:
    assert len(FOLDERS) >= 6


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_committed_table_follows_from_its_cells(folder: Path, tmp_path: Path) -> None:
    config = ROOT / "configs" / "benchmarks" / f"{folder.name}.yaml"
    table = load_table(config)
    cells = make_cells(table, folder, source=str(config))
    records = read_records(folder, cells)
    assert {f"{name}.json" for name in records} == {path.name for path in (folder / "cells").iterdir()}
    results = Results(table, cells, records, read_failures(folder, cells))
    assert markdown(results) == (folder / "table.md").read_text(encoding="utf-8")
    assert results.csv() == (folder / "table.csv").read_text(encoding="utf-8")
    for cell in cells:
        if cell.id in records:
            path = record_path(folder, cell.id)
            require_same(records[cell.id], cell, table.evaluation, path)
            write_record(tmp_path, records[cell.id])
            assert record_path(tmp_path, cell.id).read_bytes() == path.read_bytes()
