"""What ``import medlangevin`` offers: every name is there, and nothing is imported for it before it is used."""

import subprocess
import sys

import pytest

import medlangevin


@pytest.mark.parametrize("name", medlangevin.__all__)
def test_every_public_name_is_what_it_says(name):
    assert getattr(medlangevin, name).__name__ == name
    assert name in dir(medlangevin)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No medlangevin attribute load_runs"):
        medlangevin.load_runs  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="load_runs"):
        from medlangevin import load_runs  # type: ignore[attr-defined]  # noqa: F401


def test_the_package_alone_loads_no_library():
    code = "import sys, medlangevin; print(sorted({'torch', 'monai', 'numpy', 'nibabel', 'click'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_what_the_library_logs_is_not_shown_unless_it_is_asked_for():
    code = "import logging, medlangevin; logging.getLogger('medlangevin.training').warning('a step was skipped')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
