"""What is said of time and memory."""

import re
import sys
import time

import pytest
import torch

from medlangevin.runs.environment import Usage, peak_memory_mib


def test_time_inside_counts_as_waiting() -> None:
    """Twice 0.05 s of about 0.2: a sleep never ends early, and on a busy machine both shares grow alike."""
    usage = Usage()
    for _ in range(2):
        with usage.waiting():
            time.sleep(0.05)
        time.sleep(0.05)
    text = usage.describe(torch.device("cpu"))
    match = re.fullmatch(r"waited for data (\d+\.\d) % of the time; peak memory ([\d,]+) MiB", text)
    assert match is not None
    assert 5 < float(match[1]) < 95


@pytest.mark.slow
def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory_mib(torch.device("cpu"))
    assert before is not None
    held = torch.ones(int((before + 300) * 2**20) // 4)  # more than the process ever had
    after = peak_memory_mib(torch.device("cpu"))
    assert after is not None
    assert after > before + 200
    assert held[-1] == 1


def test_where_the_system_does_not_say_the_peak_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert peak_memory_mib(torch.device("cpu")) is None
    assert re.fullmatch(r"waited for data \d+\.\d % of the time", Usage().describe(torch.device("cpu")))
