"""The table as Markdown: for each data set the models and their figures, then where every cell came from."""

import csv
import io
import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from medlangevin.config.evaluation import ImageEvaluation
from medlangevin.evaluation.figure import Figure
from medlangevin.papers.table.paired import COMPARED, difference
from medlangevin.papers.table.results import Entry, Results, best_row

NOT_MEASURED, NO_SUCH_FIGURE = "not measured", "–"
_MOST_DIGITS = 8


class _Column(NamedTuple):
    label: str
    better: Literal["lower", "higher"] | None = None


COLUMNS = {
    "negative_elbo": _Column("negative ELBO, nats", "lower"),
    "nll": _Column("NLL by importance sampling, nats", "lower"),
    "nll_ais": _Column("decoder NLL by AIS, nats", "lower"),
    "negative_elbo_per_dim": _Column("negative ELBO, nats per dimension", "lower"),
    "nll_per_dim": _Column("NLL by importance sampling, nats per dimension", "lower"),
    "nll_ais_per_dim": _Column("decoder NLL by AIS, nats per dimension", "lower"),
    "ais_effective_sample_size": _Column("effective chains of AIS"),
    "ais_acceptance": _Column("acceptance of AIS"),
    "inception_score": _Column("Inception Score", "higher"),
    "fid": _Column("FID", "lower"),
    "acceptance": _Column("acceptance, last epoch"),
    "first_epoch_acceptance": _Column("acceptance, first epoch"),
    "seconds_per_epoch": _Column("seconds per epoch"),
    "training_minutes": _Column("training, minutes"),
    "epochs": _Column("epochs"),
    "best_epoch": _Column("best epoch"),
    "step_size": _Column("step size, last epoch"),
    "weight_norm": _Column("weight norm, last epoch"),
}
_NOT_COMPARABLE = (
    "The rows were not all judged on the same images with the same likelihood: they cannot be ranked, and none is bold."
)
_ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
_LEGEND = (
    "± is the standard deviation over seeds (sd); of a single seed it is the standard error over images or ears (se), "
    "which knows nothing of other seeds (of the Inception Score: over ten parts of the samples). ↓ lower is better, "
    "↑ higher is better. Bold: better than the next model by more than both ± together (root of the sum of squares). "
    "– : the model has no such figure."
)


def markdown(results: Results) -> str:
    """The whole text of table.md."""
    table = results.table
    parts = [f"# {table.title}", _method(table.evaluation), _LEGEND]
    parts += [_data_set(results, name) for name in table.shown_data_sets]
    parts += [table.note.strip()] if table.note.strip() else []
    parts += ["## Where the figures come from", _provenance(results)]
    failed = [f"* {cell.id}: {results.failures[cell.id]}" for cell in results.cells if cell.id in results.failures]
    parts += ["## Failed", "\n".join(failed)] if failed else []
    return "\n\n".join(parts) + "\n"


def format_entry(entry: Entry, *, planned: int) -> str:
    """For example ``1.1889 ± 0.0012 (sd, 3 seeds)``; the uncertainty has two significant digits.

    ``planned``: seeds that the table asks for, named where fewer are measured.
    """
    seeds = f"{entry.seeds} of {planned} seeds" if entry.seeds < planned else _number(entry.seeds, "seed")
    if entry.uncertainty is None:  # of the only seed there is, a figure that is no mean over images
        return _plain(entry.mean) if planned == 1 else f"{_plain(entry.mean)} ({seeds})"
    if entry.uncertainty == 0:
        return f"{_plain(entry.mean)} ± 0 ({entry.kind}, {seeds})"
    digits = _digits(entry.uncertainty)
    return f"{entry.mean:.{digits}f} ± {entry.uncertainty:.{digits}f} ({entry.kind}, {seeds})"


def _digits(uncertainty: float) -> int:
    """Decimals that show two significant digits of an uncertainty."""
    return min(_MOST_DIGITS, max(0, 1 - math.floor(math.log10(uncertainty))))


def _data_set(results: Results, data_set: str) -> str:
    table = results.table
    published = {
        figure: {name: row.published.get(data_set, {}).get(figure) for name, row in table.rows.items()}
        for figure in table.figures
    }
    comparable = results.are_comparable(data_set)
    header, columns, counts = ["model"], [[_escape(row.label) for row in table.rows.values()]], []
    is_measured = any(cell.data_set == data_set for cell in results.cells)
    for figure in table.figures:
        is_published = any(value is not None for value in published[figure].values())
        if not (is_measured or is_published):
            continue
        entries = {name: results.entry(name, data_set, figure) for name in table.rows}
        style = COLUMNS[figure]
        header.append(style.label + _ARROWS[style.better])
        known = {name: entry for name, entry in entries.items() if entry is not None}
        best = best_row(known, better=style.better) if comparable else None
        columns.append([_cell(results, name, data_set, entry, name == best) for name, entry in entries.items()])
        if is_published:
            header.append(f"{style.label}, published")
            columns.append(["" if value is None else f"{value:.6g}" for value in published[figure].values()])
        counts += _counts(style.label, (entry for entry in entries.values() if entry is not None))
    parts = [f"## {data_set}", _grid(header, zip(*columns, strict=True))]
    parts += [f"Images: {'; '.join(counts)}."] if counts else []
    parts += [] if comparable else [_NOT_COMPARABLE]
    return "\n\n".join(parts + [text for name in COMPARED if (text := _comparison(results, data_set, name))])


def _comparison(results: Results, data_set: str, figure: str) -> str:
    """Every row against the controls on the same images; empty where there is nothing to compare."""
    rows, controls = results.table.rows, results.table.controls
    found = {
        (row, control): difference(results, row, control, data_set, figure)
        for row in rows
        for control in controls
        if row != control
    }
    if not any(found.values()):
        return ""
    title = f"Difference in {COLUMNS[figure].label} per image, on the same images; below 0 is better than the control"
    lines = [
        [_escape(rows[row].label), *(_difference(found.get((row, control))) for control in controls)]
        for row in rows
        if any(found.get((row, control)) for control in controls)
    ]
    header = ["model", *(f"minus {_escape(rows[control].label)}" for control in controls)]
    return f"{title} (± standard error over images, of the seeds that both have):\n\n{_grid(header, lines)}"


def _difference(figure: Figure | None) -> str:
    if figure is None:
        return ""
    if not figure.standard_error:
        return f"{figure.mean:+.4g}"
    digits = _digits(figure.standard_error)
    return f"{figure.mean:+.{digits}f} ± {figure.standard_error:.{digits}f}"


def _cell(results: Results, row: str, data_set: str, entry: Entry | None, is_best: bool) -> str:
    planned = results.cells_of(row, data_set)
    if entry is not None:
        text = format_entry(entry, planned=len(planned))
        return f"**{text}**" if is_best else text
    if results.records_of(row, data_set):
        return NO_SUCH_FIGURE
    return "failed" if any(cell.id in results.failures for cell in planned) else NOT_MEASURED


def _counts(label: str, entries: Iterable[Entry]) -> list[str]:
    """How many images a figure is the mean of; nothing for a figure of a training."""
    counts = [count for entry in entries for count in entry.counts]
    if not counts or max(counts) == 1:
        return []
    low, high = min(counts), max(counts)
    return [f"{label} {low:,}" if low == high else f"{label} {low:,} to {high:,}"]


def _provenance(results: Results) -> str:
    header = ["cell", "seed", "epochs", "seconds per epoch", "device", "torch", "date", "command"]
    lines = []
    for cell in results.cells:
        record = results.records.get(cell.id)
        if record is None:
            state = "failed" if cell.id in results.failures else NOT_MEASURED
            lines.append([cell.id, str(cell.seed), state, "", "", "", "", ""])
            continue
        per_epoch = record.figures.get("seconds_per_epoch")
        lines.append(
            [
                cell.id,
                str(cell.seed),
                f"{record.epochs} of {cell.config.training.epochs}",
                NO_SUCH_FIGURE if per_epoch is None else _plain(per_epoch.mean),
                _escape(record.device),
                record.torch,
                record.date,
                _escape(f"`{record.command}`"),
            ]
        )
    return _grid(header, lines)


def _method(evaluation: ImageEvaluation) -> str:
    said = [f"Measured on the {evaluation.split} images, the ELBO with {_number(evaluation.elbo_draws, 'draw')} each"]
    if evaluation.importance is not None:
        said.append(f"NLL by {_number(evaluation.importance.samples, 'importance sample')}")
    if evaluation.annealing is not None:
        chains, temperatures = evaluation.annealing.chains, evaluation.annealing.temperatures
        said.append(f"AIS with {_number(chains, 'chain')} over {_number(temperatures, 'temperature')}")
    if evaluation.inception is not None:
        said.append(f"Inception Score and FID of {_number(evaluation.inception.samples, 'generated image')}")
    return "; ".join(said) + "."


def _number(count: int, noun: str) -> str:
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


CSV_COLUMNS = (
    "row",
    "label",
    "data_set",
    "seed",
    "figure",
    "mean",
    "standard_error",
    "count",
    "published",
    "epochs",
    "device",
    "torch",
    "date",
    "command",
)


def csv_text(results: Results) -> str:
    """The whole text of table.csv, in full precision.

    All figures of measured cells, also those that are no column of the table; a published figure that no seed has been
    measured for has a line without seed and mean.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for data_set in results.table.shown_data_sets:
        for row in results.table.rows:
            writer.writerows(_measured(results, row, data_set))
            writer.writerows(_published_alone(results, row, data_set))
    return text.getvalue()


def _measured(results: Results, row: str, data_set: str) -> list[dict[str, Any]]:
    label, published = results.table.rows[row].label, results.table.rows[row].published.get(data_set, {})
    return [
        {
            "row": row,
            "label": label,
            "data_set": data_set,
            "seed": record.seed,
            "figure": name,
            "mean": figure.mean,
            "standard_error": figure.standard_error,
            "count": figure.count,
            "published": published.get(name),  # type: ignore[call-overload]
            "epochs": record.epochs,
            "device": record.device,
            "torch": record.torch,
            "date": record.date,
            "command": record.command,
        }
        for record in results.records_of(row, data_set)
        for name, figure in record.figures.items()
    ]


def _published_alone(results: Results, row: str, data_set: str) -> list[dict[str, Any]]:
    settings = results.table.rows[row]
    return [
        {"row": row, "label": settings.label, "data_set": data_set, "figure": name, "published": value}
        for name, value in settings.published.get(data_set, {}).items()
        if results.entry(row, data_set, name) is None
    ]
