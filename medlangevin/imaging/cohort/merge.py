"""The end of a run, or of all its shards: index files, one ``status.json``, and nothing unfinished left."""

from collections import Counter
from pathlib import Path

from medlangevin.imaging.cohort import status
from medlangevin.imaging.cohort.dataset import write_index_files
from medlangevin.imaging.cohort.person import Outcome
from medlangevin.imaging.cohort.status import LOCK, PARTS, shard_of
from medlangevin.imaging.cohort.summary import PreprocessSummary, ears_of, failed_ears_of, problem_of, problems_of
from medlangevin.imaging.reading.rejection import CLOSED_FOLDER
from medlangevin.system.errors import MedlangevinError
from medlangevin.system.lock import locked


def merge(out: Path) -> PreprocessSummary:
    """Write the index files of what the shards of a run have done; the same bytes as one run without shards writes.

    Neither the scans nor the key are needed. Raises MedlangevinError, with nothing written, when a shard is missing
    and when there is nothing to merge. Merged once, it may be merged again.
    """
    out = Path(out)
    if not status.is_ours(out):
        raise MedlangevinError(f"{out} holds nothing to merge; run preprocess --shard 1/N to N/N with this --out first")
    with locked(out / PARTS / LOCK, shared=False, busy=busy(out)) as alone:
        plan = status.load_plan(out)
        saved = status.load_status(out) if plan is None else None
        if plan is not None:
            outcomes, failures = status.finished(out, plan.persons), plan.failures
            _check_complete(out, plan, outcomes)
        elif saved is not None:
            outcomes, failures = saved
        else:
            raise MedlangevinError(f"the run in {out} was interrupted; run the same command again, with --raw")
        removed = finish(out, outcomes, failures, alone=alone)
    all_failures, notes = problems_of(outcomes, {}, [problem_of(row, None) for row in failures])
    return PreprocessSummary(
        out=out,
        ears=ears_of(outcomes),
        failed=failed_ears_of(outcomes),
        persons=len(outcomes),
        failures=all_failures,
        notes=notes,
        removed=removed,
    )


def finish(out: Path, outcomes: dict[str, Outcome], failures: list[dict[str, str]], *, alone: bool) -> int:
    """Write status and index files and clean up; how many people's files were removed, as they are no longer scanned.

    ``alone``: whether surely nobody else writes there.
    """
    # In a folder that could not be opened this time, people may still be.
    hidden = any(row["code"] == CLOSED_FOLDER.code for row in failures)
    removed = 0 if hidden else status.remove_former(out, outcomes)
    status.save_status(out, outcomes, failures)
    write_index_files(out, list(outcomes.values()), failures)
    status.remove_stale(out, outcomes.values())
    if alone:
        status.sweep_unfinished(out)
    status.clear_parts(out)
    return removed


def busy(out: Path) -> str:
    """What to say when another run is at work in ``out``."""
    return f"another run is writing to {out}; wait until it is done, or give another folder with --out"


def _check_complete(out: Path, plan: status.Plan, outcomes: dict[str, Outcome]) -> None:
    missing = Counter(shard_of(subject, plan.shards) for subject in plan.persons if subject not in outcomes)
    if missing:
        listed = ", ".join(str(shard) for shard in sorted(missing))
        raise MedlangevinError(
            f"{missing.total()} of {len(plan.persons)} persons in {out} are not done; run --shard {listed} (again), "
            "then merge"
        )
