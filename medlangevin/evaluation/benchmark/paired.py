"""How far two models lie apart on the same images: images differ by far more than models do, so in pairs."""

from statistics import fmean

from medlangevin.evaluation.benchmark.results import Results
from medlangevin.evaluation.figure import Figure, figure_of

# Figures that are kept image by image.
COMPARED = ("nll", "nll_ais")


def difference(results: Results, row: str, control: str, data_set: str, figure: str) -> Figure | None:
    """``figure`` of ``row`` minus that of ``control``, mean and standard error over images; below 0, ``row`` is better.

    Of each image the mean over the seeds that both have; the error knows nothing of other seeds. None where no seed of
    both is measured image by image.
    """
    ours, theirs = (_values(results, name, data_set, figure) for name in (row, control))
    seeds = sorted(ours.keys() & theirs.keys())
    pairs = [zip(ours[seed], theirs[seed], strict=False) for seed in seeds]
    differences = [[one - other for one, other in pair] for pair in pairs]
    return figure_of([fmean(image) for image in zip(*differences, strict=False)]) if differences else None


def _values(results: Results, row: str, data_set: str, figure: str) -> dict[int, tuple[float, ...]]:
    found = {record.seed: record.figures.get(figure) for record in results.records_of(row, data_set)}
    return {seed: one.values for seed, one in found.items() if one is not None and one.values}
