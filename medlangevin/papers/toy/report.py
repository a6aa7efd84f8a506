"""The toy experiments from start to files: samples, metrics, settings and picture in one folder."""

from pathlib import Path
from typing import Literal

from medlangevin.papers.toy.figures import draw_gaussian, draw_neural
from medlangevin.papers.toy.panels import ToyResult
from medlangevin.papers.toy.results import require_ours, write_result
from medlangevin.papers.toy.run_gaussian import run_gaussian
from medlangevin.papers.toy.run_neural import run_neural
from medlangevin.system.errors import MedlangevinError


def report_toy(name: Literal["gaussian", "neural"], out: Path | str, *, seed: int, steps: int) -> ToyResult:
    """Run the toy ``name`` and write its samples, metrics, settings and picture to the folder ``out``.

    Nothing is written before all is computed; a former result is replaced. Raises MedlangevinError where ``out`` holds
    anything that the toys did not write, or cannot be made.
    """
    out = Path(out)
    require_ours(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MedlangevinError(
            f"cannot make the folder {out} ({error.strerror or error}); choose another --out"
        ) from error
    run, draw = {"gaussian": (run_gaussian, draw_gaussian), "neural": (run_neural, draw_neural)}[name]
    result = run(seed=seed, steps=steps)
    write_result(result, out)
    draw(result, out / f"toy_{name}.png")
    return result
