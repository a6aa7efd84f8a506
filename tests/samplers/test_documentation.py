"""The example of docs/methods.md runs as it stands, and its table is what it prints."""

import re
from pathlib import Path

import numpy as np
import pytest

from medlangevin.samplers.diagnostics import from_chains, summary

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.mark.slow
def test_the_example_prints_the_table_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """At 4 of its own Monte-Carlo standard errors: four normal statistics give one false alarm in 4,000."""
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (header,) = re.findall(r"^ +(mean +sd +.*)$", text, re.MULTILINE)
    rows = re.findall(r"^    \d +(-?\d+\.\d\d .*)$", text, re.MULTILINE)
    printed = np.array([[float(value) for value in row.split()] for row in rows])
    names: dict[str, object] = {}
    exec(compile(example, PAGE.name, "exec"), names)
    assert capsys.readouterr().out.splitlines()[0].split() == header.split()

    found = summary(from_chains(names["chains"]))  # type: ignore[arg-type]
    for means, deviations in ((printed[:, 0], printed[:, 1]), (np.array([0.0, 0.5]), np.ones(2))):
        assert (np.abs(found["mean"] - means) < 4 * found["mcse_mean"]).all()
        assert (np.abs(found["sd"] - deviations) < 4 * found["mcse_sd"]).all()
    np.testing.assert_allclose(printed[:, 2], found["ess_bulk"], rtol=0.2)
    assert (found["r_hat"] < 1.02).all()
    np.testing.assert_allclose(printed[:, 4], found["acceptance_rate"], atol=0.02)
