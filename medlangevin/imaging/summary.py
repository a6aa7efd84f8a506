"""What preprocess decided, as text for the terminal."""

from collections import Counter

from medlangevin.imaging.preprocess import PreprocessSummary, Problem


def describe(summary: PreprocessSummary) -> str:
    """A few lines: what was found, cropped, to be reviewed, without a crop, passed over, and where things are.

    Folder names appear here, as the user has to find the scan; no output file holds them.
    """
    lines = [f"found    {summary.series} CT series of {summary.persons} persons in {summary.files} files"]
    sides = Counter(ear["side"] for ear in summary.ears)
    kept = f", {summary.resumed} persons from an earlier run" if summary.resumed else ""
    lines.append(f"cropped  {len(summary.ears)} ears ({sides['L']} left, {sides['R']} right){kept}")
    for ear in summary.ears:
        if ear["verdict"] != "ok":
            lines.append(f"review   sub-{ear['subject']} side {ear['side']}: {ear['why']}")
    lines += [_line("failed", problem) for problem in summary.failures]
    lines += [_line("skipped", problem) for problem in summary.notes]
    lines += [f"passed   {count} file{'s' if count > 1 else ''}: {text}" for text, count in summary.passed_over.items()]
    if summary.ears:
        lines.append(f"pictures {summary.pictures}")
    lines.append(f"key      {summary.key_file} (keep it private: it links the pseudonyms to the patients)")
    return "\n".join(lines)


def _line(word: str, problem: Problem) -> str:
    advice = "" if problem.what_to_do == "nothing" else f"; {problem.what_to_do}"
    return f"{word:<8} {problem.folder}: {problem.reason}{advice}"
