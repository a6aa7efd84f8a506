import numpy as np
import pytest

from medlangevin.imaging.reading import read_headers as module
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.read_headers import read_headers, read_many


@pytest.fixture(scope="module")
def files(tmp_path_factory, write_slice):
    folder = tmp_path_factory.mktemp("many")
    pixels = np.full((8, 8), 7, np.int16)
    paths = [write_slice(folder / f"{n:02}", pixels, (0, 0, n), series_uid=f"1.2.{n // 5}") for n in range(20)]
    (folder / "notes.txt").write_text("not an image")
    return [*paths, folder / "notes.txt"]


@pytest.mark.parametrize(("bar", "processes"), [(100, 100), (5, 100), (5, 5)])
def test_headers_come_in_order_however_they_are_read(files, monkeypatch, logged, bar, processes):
    monkeypatch.setattr(module, "MIN_FILES_FOR_PROGRESS", bar)
    monkeypatch.setattr(module, "MIN_FILES_FOR_PROCESSES", processes)
    monkeypatch.setattr(module, "CHUNK", 4)
    assert list(read_many(files, workers=2)) == [(path, read_headers(path)) for path in files]
    assert ("header 21/21" in logged()) == (bar < 21)


def test_slices_share_what_they_have_in_common(files):
    """A million slices are read before the first scan is: what is the same for all of a series is held once."""
    series = ingest(files[0].parent).series
    assert len(series) == 4
    for item in series:
        for name in ("person", "series_uid", "orientation", "spacing_mm", "shape", "acquisition"):
            assert len({id(getattr(one, name)) for one in item.slices}) == 1
    assert len({id(item.slices[0].person) for item in series}) == 1
