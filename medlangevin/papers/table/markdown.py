"""The table as Markdown: for each data set the models and their figures, then where every cell came from."""

import math
from collections.abc import Iterable

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.results import Entry, Results, best_row
from medlangevin.papers.table.schema import COLUMNS

NOT_MEASURED, NO_SUCH_FIGURE = "not measured", "–"
# Figures that are kept image by image.
COMPARED = ("nll", "nll_encoder", "nll_ais")
_MOST_DIGITS = 8
_NOT_COMPARABLE = (
    "The rows were not all judged on the same images with the same likelihood: they cannot be ranked, and none is bold."
)
_PARTLY = (
    "the mean over the images that could be measured, which are others for every model. It does not rank the models."
)
_ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
_LEGEND = (
    "± is the standard deviation over seeds (sd); of a single seed it is the standard error over images or ears (se), "
    "which knows nothing of other seeds (of the Inception Score: over ten parts of the samples). ↓ lower is better, "
    "↑ higher is better. Bold: better than the next model by more than both ± together (root of the sum of squares). "
    "– : the model has no such figure."
)


def markdown(results: Results) -> str:
    """Write the table as Markdown.

    Args:
        results: The table and what is known of its cells.

    Returns:
        The whole text of table.md.
    """
    config = results.config
    parts = [f"# {config.title}", _method(config.evaluation), _LEGEND]
    parts += [_data_set(results, name) for name in config.shown_data_sets]
    parts += [config.note.strip()] if config.note.strip() else []
    parts += ["## Where the figures come from", _provenance(results)]
    failed = [f"* {cell.id}: {results.failures[cell.id]}" for cell in results.cells if cell.id in results.failures]
    parts += ["## Failed", "\n".join(failed)] if failed else []
    return "\n\n".join(parts) + "\n"


def format_entry(entry: Entry, *, planned: int) -> str:
    """Write a figure with its uncertainty, which has two significant digits.

    Args:
        entry: The figure.
        planned: The number of seeds that the table asks for; it is named where fewer are measured.

    Returns:
        For example ``1.1889 ± 0.0012 (sd, 3 seeds)``.
    """
    seeds = f"{entry.seeds} of {planned} seeds" if entry.seeds < planned else _counted(entry.seeds, "seed")
    if entry.uncertainty is None:  # a figure of one seed that is not a mean over images
        return _plain(entry.mean) if planned == 1 else f"{_plain(entry.mean)} ({seeds})"
    if entry.uncertainty == 0:
        return f"{_plain(entry.mean)} ± 0 ({entry.kind}, {seeds})"
    return f"{_with_error(entry.mean, entry.uncertainty)} ({entry.kind}, {seeds})"


def _with_error(mean: float, error: float, sign: str = "") -> str:
    """A mean and its error, both with the decimals that show two significant digits of the error."""
    digits = min(_MOST_DIGITS, max(0, 1 - math.floor(math.log10(error))))
    return f"{mean:{sign}.{digits}f} ± {error:.{digits}f}"


def _data_set(results: Results, data_set: str) -> str:
    rows, is_measured = results.config.rows, any(cell.data_set == data_set for cell in results.cells)
    comparable = results.are_comparable(data_set)
    header, columns = ["model"], [[_escape(row.label) for row in rows.values()]]
    counted: list[str] = []
    partly: list[str] = []
    for figure in results.config.figures:
        published = [row.published.get(data_set, {}).get(figure) for row in rows.values()]
        is_published = any(value is not None for value in published)
        if not (is_measured or is_published):
            continue
        entries = {row: results.entries[key] for row in rows if (key := (data_set, row, figure)) in results.entries}
        style = COLUMNS[figure]
        header.append(style.label + _ARROWS[style.better])
        of_all_images = results.is_of_all_images(data_set, figure)
        best = best_row(entries, better=style.better) if comparable and of_all_images else None
        partly += [] if of_all_images else [style.label]
        columns.append([_value(results, (row, data_set, figure), entries.get(row), row == best) for row in rows])
        if is_published:
            header.append(f"{style.label}, published")
            columns.append(["" if value is None else f"{value:.6g}" for value in published])
        counts = [count for entry in entries.values() for count in entry.counts]
        if counts and max(counts) > 1:  # else it is a figure of a training
            low, high = min(counts), max(counts)
            counted.append(f"{style.label} {low:,}" if low == high else f"{style.label} {low:,} to {high:,}")
    parts = [f"## {data_set}", _grid(header, zip(*columns, strict=True))]
    parts += [f"Images: {'; '.join(counted)}."] if counted else []
    parts += [f"{' and '.join(partly)}: {_PARTLY}"] if partly else []
    parts += [] if comparable else [_NOT_COMPARABLE]
    return "\n\n".join(parts + [text for name in COMPARED if (text := _comparison(results, data_set, name))])


def _comparison(results: Results, data_set: str, figure: str) -> str:
    """Every row against the controls on the same images; empty where there is nothing to compare."""
    rows, controls = results.config.rows, results.config.controls
    lines = []
    for row in rows:
        found = [None if row == control else results.difference(row, control, data_set, figure) for control in controls]
        if any(found):
            lines.append([_escape(rows[row].label), *map(_difference, found)])
    if not lines:
        return ""
    title = f"Difference in {COLUMNS[figure].label} per image, on the same images; below 0 is better than the control"
    header = ["model", *(f"minus {_escape(rows[control].label)}" for control in controls)]
    return f"{title} (± standard error over images, of the seeds that both have):\n\n{_grid(header, lines)}"


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return _with_error(figure.mean, figure.standard_error, "+") if figure.standard_error else f"{figure.mean:+.4g}"


def _value(results: Results, place: tuple[str, str, str], entry: Entry | None, is_best: bool) -> str:
    """What stands at a row, data set and figure."""
    row, data_set, figure = place
    cells = {cell.id for cell in results.cells_of(row, data_set)}
    if entry is not None:
        text = format_entry(entry, planned=len(cells))
        return f"**{text}**" if is_best else text
    if any(results.records[cell].measured(figure) for cell in cells & results.records.keys()):
        return NO_SUCH_FIGURE
    return "failed" if cells & results.failures.keys() else NOT_MEASURED


def _provenance(results: Results) -> str:
    header = ["cell", "seed", "epochs", "seconds per epoch", "device", "torch", "date", "command"]
    lines = []
    for cell in results.cells:
        record = results.records.get(cell.id)
        if record is None:
            told = ["failed" if cell.id in results.failures else NOT_MEASURED, *[""] * 5]
        else:
            per_epoch = record.figures.get("seconds_per_epoch")
            told = [
                f"{record.epochs} of {cell.config.training.epochs}",
                NO_SUCH_FIGURE if per_epoch is None else _plain(per_epoch.mean),
                _escape(record.device),
                record.torch,
                record.date,
                _escape(f"`{record.command}`"),
            ]
        lines.append([cell.id, str(cell.seed), *told])
    return _grid(header, lines)


def _method(evaluation: ImageEvaluation) -> str:
    said = [f"Measured on the {evaluation.split} images, the ELBO with {_counted(evaluation.elbo_draws, 'draw')} each"]
    if evaluation.evidence is not None:
        said.append(f"NLL by {_counted(evaluation.evidence.samples, 'sample')} about the mode of each posterior")
    if evaluation.importance is not None:
        said.append(f"NLL by {_counted(evaluation.importance.samples, 'sample')} of the encoder")
    if evaluation.annealing is not None:
        chains, temperatures = evaluation.annealing.chains, evaluation.annealing.temperatures
        said.append(f"AIS with {_counted(chains, 'chain')} over {_counted(temperatures, 'temperature')}")
    if evaluation.inception is not None:
        said.append(f"Inception Score and FID of {_counted(evaluation.inception.samples, 'generated image')}")
    return "; ".join(said) + "."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _plain(value: float) -> str:
    """A number without an uncertainty: four significant digits, all of a whole number's."""
    if value == int(value):
        return f"{value:.0f}"
    if abs(value) < 1e-3:
        return f"{value:.4g}"
    return f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"


def _grid(header: list[str], lines: Iterable[Iterable[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
