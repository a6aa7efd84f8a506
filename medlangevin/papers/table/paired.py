"""How far two models lie apart on the same images: images differ by far more than models do, so in pairs."""

from statistics import fmean

from medlangevin.evaluation.figure import Figure, figure_of
from medlangevin.papers.table.records import Record
from medlangevin.papers.table.results import Results

# Figures that are kept image by image.
COMPARED = ("nll", "nll_ais")


def difference(results: Results, row: str, control: str, data_set: str, figure: str) -> Figure | None:
    """``figure`` of ``row`` minus that of ``control``, mean and standard error over images; below 0, ``row`` is better.

    Of each image the mean over the seeds that both have; the error knows nothing of other seeds. None where no seed of
    both is measured image by image, or the two were not judged on the same images in the same way.
    """
    ours, theirs = (_records(results, name, data_set, figure) for name in (row, control))
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds or any(ours[seed].judged_on() != theirs[seed].judged_on() for seed in seeds):
        return None
    differences = [
        [one - other for one, other in zip(_values(ours[seed], figure), _values(theirs[seed], figure), strict=True)]
        for seed in seeds
    ]
    return figure_of([fmean(image) for image in zip(*differences, strict=True)])


def _records(results: Results, row: str, data_set: str, figure: str) -> dict[int, Record]:
    return {record.seed: record for record in results.records_of(row, data_set) if _values(record, figure)}


def _values(record: Record, figure: str) -> tuple[float, ...]:
    found = record.figures.get(figure)
    return () if found is None or found.values is None else found.values
