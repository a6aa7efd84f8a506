from medlangevin.system.progress import Track, progress


def lines(logged, total, seconds_each, *, before=0):
    now = 0.0
    track = Track(total, None, "person", before, clock=lambda: now)
    for done in range(before + 1, total + 1):
        now += seconds_each
        track.advance(done, f"note {done}")
    return logged().splitlines()


def test_a_log_tells_rate_and_remaining_time(logged):
    assert lines(logged, 4, 90.0) == [
        "person 1/4: note 1",
        "person 2/4 (40/h, 3:00 left): note 2",
        "person 3/4 (40/h, 1:30 left): note 3",
        "person 4/4 (40/h): note 4",
    ]


def test_items_of_an_earlier_run_do_not_count_for_the_rate(logged):
    shown = lines(logged, 5000, 0.01, before=4000)
    assert shown[0] == "person 4100/5000 (100/s, 0:09 left): note 4100"
    assert len(shown) == 10
    assert lines(logged, 8000, 20.0, before=1000)[0] == "person 1120/8000 (3/min, 38:13:20 left): note 1120"


def test_a_log_of_long_work_stays_short(logged):
    with progress(100_000, "header") as track:
        for done in range(1, 100_001):
            track.advance(done)
    shown = logged().splitlines()
    assert len(shown) == 51
    assert shown[-1].startswith("header 100000/100000 (")
