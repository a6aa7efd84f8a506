"""Folders as they come from discs and network shares: odd names, links in a ring, pipes, files that cannot be read."""

import os
import shutil
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from medlangevin.imaging.cohort.preprocess import preprocess
from medlangevin.imaging.cohort.summary import describe
from medlangevin.imaging.reading import bounded_file
from medlangevin.imaging.reading.decode import read_stack
from medlangevin.imaging.reading.geometry import stacks
from medlangevin.imaging.reading.ingest import ingest
from medlangevin.imaging.reading.rejection import Reason, UnusableSeriesError

PIXELS = np.full((40, 40), 700, np.int16)
COUNT = 24
TOO_SMALL = Reason("too-small", "a volume too small to hold a cochlea", "export the whole series")
ODD_NAMES = [
    *(
        "-rf",
        "--help",
        "two\nlines",
        "tab\there",
        "quote'\"s",
        "a b",
        "\N{BONE}\N{EAR}",
        "é" * 100,
        "x" * 250,
        "* ?[a]",
    ),
    *("%s%d{0}", ".hidden", "$(HOME)", "CON", "a\\b", "name.nii.dcm", os.fsdecode(b"\xff\xfe\x80latin\xe9"), "~"),
]


def write_series(folder, write_slice, names):
    """A sound series of as many slices as there are names."""
    source = folder.parent / "slice-to-move"
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        write_slice(source, PIXELS, (0, 0, k * 0.6))
        # By bytes: pydicom would not write every name.
        os.rename(source, os.fsencode(folder / name))  # noqa: PTH104


def volumes(raw):
    return [read_stack(stack) for series in ingest(raw).series for stack in stacks(series.slices)]


def refuse(monkeypatch):
    """Every series is refused before it is read."""

    def series_ears(*_):
        raise UnusableSeriesError(TOO_SMALL)

    monkeypatch.setattr("medlangevin.imaging.cohort.person.series_ears", series_ears)


def test_names_play_no_part(tmp_path, write_slice):
    names = [*ODD_NAMES, *(f"plain{k}" for k in range(COUNT - len(ODD_NAMES)))]
    folder = tmp_path / "raw" / "\N{HOSPITAL}\n-folder" / os.fsdecode(b"\xe9\xff")
    write_series(folder, write_slice, names)
    (image,) = volumes(tmp_path / "raw")
    assert image.GetSize() == (40, 40, COUNT)
    assert np.allclose(image.GetSpacing(), (0.3, 0.3, 0.6))


def test_odd_names_pass_through_the_whole_run(tmp_path, write_slice, monkeypatch):
    raw = tmp_path / "raw"
    write_series(raw / os.fsdecode(b"\xe9\xff\n-Secretperson"), write_slice, ODD_NAMES)
    shutil.copytree(raw, raw / os.fsdecode(b"copy\xff"))
    (raw / os.fsdecode(b"volume\xff.nii.gz")).write_bytes(b"no volume")
    refuse(monkeypatch)
    text = describe(preprocess(raw, tmp_path / "out"))
    # One line per problem, whatever the folder is called, and printable on any terminal.
    assert all(line.split()[0].isalpha() for line in text.splitlines())
    text.encode("utf-8")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"Secretperson" not in path.read_bytes()
    assert sum("\\n-Secretperson" in line for line in text.splitlines()) == 1
    assert preprocess(raw, tmp_path / "out").resumed == 2


def test_links_in_a_ring_and_to_nowhere_end(tmp_path, write_slice):
    raw = tmp_path / "raw"
    write_series(raw / "a", write_slice, [f"s{k}" for k in range(COUNT)])
    (raw / "a" / "up").symlink_to(raw)
    (raw / "b").symlink_to(raw / "a")
    (raw / "self").symlink_to(raw / "self")
    (raw / "nowhere").symlink_to(raw / "absent")
    (raw / "ping").symlink_to(raw / "pong")
    (raw / "pong").symlink_to(raw / "ping")
    (image,) = volumes(raw)
    assert image.GetSize()[2] == COUNT


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_pipes_sockets_and_devices_are_not_opened(tmp_path, write_slice):
    raw = tmp_path / "raw"
    write_series(raw, write_slice, [f"s{k}" for k in range(COUNT)])
    os.mkfifo(raw / "pipe")
    os.mkfifo(raw / "pipe.nii.gz")
    (raw / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        place = os.open(raw, os.O_RDONLY)
        # The path of a socket is short: by way of the open folder.
        server.bind(f"/proc/self/fd/{place}/socket")
        found = ingest(raw)
        os.close(place)
    assert found.files == COUNT
    assert found.passed_over == ()


def test_a_very_deep_tree_is_read(tmp_path, write_slice):
    raw = tmp_path / "raw"
    deepest = raw / Path(*[f"d{number}" for number in range(300)])
    assert len(str(deepest)) < 4000
    write_series(deepest, write_slice, [f"s{k}" for k in range(COUNT)])
    (image,) = volumes(raw)
    assert image.GetSize()[2] == COUNT


def unreadable(monkeypatch, chosen, error):
    """Opening the chosen files fails, as it does for others than root."""

    class Reader(bounded_file.BoundedReader):
        def __init__(self, path):
            if path.name in chosen:
                raise error
            super().__init__(path)

    monkeypatch.setattr(bounded_file, "BoundedReader", Reader)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_files_that_cannot_be_opened_are_counted_and_leave_a_gap(tmp_path, write_slice, monkeypatch, error):
    write_series(tmp_path / "raw", write_slice, [f"s{k}" for k in range(COUNT)])
    unreadable(monkeypatch, {"s20"}, error)
    found = ingest(tmp_path / "raw")
    assert [(item.reason.code, item.files) for item in found.passed_over] == [("closed-file", 1)]
    assert found.passed_over[0].reason.failure
    assert [image.GetSize()[2] for image in volumes(tmp_path / "raw")] == [20]


def test_a_folder_that_cannot_be_listed_is_said(tmp_path, write_slice, monkeypatch):
    raw = tmp_path / "raw"
    write_series(raw / "open", write_slice, [f"s{k}" for k in range(COUNT)])
    write_series(raw / "closed", write_slice, [f"s{k}" for k in range(COUNT)])
    scan = os.scandir

    def scandir(path):
        if Path(os.fsdecode(path)).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = ingest(raw)
    assert len(found.series) == 1
    assert [(item.reason.code, item.folder.name) for item in found.passed_over] == [("closed-folder", "closed")]
    assert found.passed_over[0].reason.failure


def test_files_that_vanish_or_shrink_after_their_headers_were_read(tmp_path, write_slice):
    raw = tmp_path / "raw"
    write_series(raw, write_slice, [f"s{k}" for k in range(COUNT)])
    (series,) = ingest(raw).series
    (raw / "s7").unlink()
    with pytest.raises(UnusableSeriesError, match="cannot be decoded"):
        read_stack(stacks(series.slices)[0])
    (raw / "s7").write_bytes((raw / "s8").read_bytes()[:900])
    with pytest.raises(UnusableSeriesError, match="cannot be decoded"):
        read_stack(stacks(series.slices)[0])


def test_a_file_that_vanishes_while_the_folder_is_read(tmp_path, write_slice, monkeypatch):
    raw = tmp_path / "raw"
    write_series(raw, write_slice, [f"s{k}" for k in range(COUNT)])

    class Reader(bounded_file.BoundedReader):
        def __init__(self, path):
            if path.name == "s1":
                path.unlink()
            super().__init__(path)

    monkeypatch.setattr(bounded_file, "BoundedReader", Reader)
    found = ingest(raw)
    assert [item.reason.code for item in found.passed_over] == ["closed-file"]
    # Seen by the reading of headers, gone when sizes and times are asked for.
    write_slice(raw / "s1", PIXELS, (0, 0, 0.6))
    monkeypatch.undo()
    real = ingest

    def ingest_and_lose(folder, **options):
        found = real(folder, **options)
        (raw / "s5").unlink()
        return found

    monkeypatch.setattr("medlangevin.imaging.cohort.preprocess.ingest", ingest_and_lose)
    refuse(monkeypatch)
    summary = preprocess(raw, tmp_path / "out")
    assert [problem.reason for problem in summary.failures] == [TOO_SMALL.text]
