"""The headers of many files: over several processes where they are many, with progress, in the order asked for."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from medlangevin.imaging.reading.read_headers import FileHeaders, read_headers
from medlangevin.system.progress import progress
from medlangevin.system.workers import run_all

# A file takes about a millisecond, a process a second to start.
WORTH_A_BAR = 1000
WORTH_PROCESSES = 5000
CHUNK = 250


def read_many(paths: Sequence[Path], *, workers: int) -> Iterator[tuple[Path, FileHeaders]]:
    """Each of ``paths`` with what is in it. ``workers``: processes; 0 reads here.

    Raises MedlangevinError when a process is killed over the same files twice.
    """
    if len(paths) < WORTH_A_BAR:
        yield from ((path, read_headers(path)) for path in paths)
        return
    chunks = [(number, paths[number : number + CHUNK]) for number in range(0, len(paths), CHUNK)]
    early: dict[int, list[FileHeaders]] = {}
    due, done = 0, 0
    reading = run_all(_read_chunk, chunks, workers=workers if len(paths) >= WORTH_PROCESSES else 0)
    with progress(len(paths), "header") as track, closing(reading) as results:
        for (number, chunk), found in results:
            early[number] = found
            done += len(chunk)
            track.advance(done)
            while due in early:
                yield from zip(paths[due : due + CHUNK], early.pop(due), strict=True)
                due += CHUNK


def _read_chunk(chunk: tuple[int, Sequence[Path]]) -> list[FileHeaders]:
    return [read_headers(path) for path in chunk[1]]
