from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.cdi.transfers import (
    ALWAYS,
    BYTES_PER_SECOND,
    POD_START_SECONDS,
    TransferPlan,
    plan_copy,
    plan_import,
    view_transfer,
)

GI = 1024**3


def http(url="https://images/x.qcow2"):
    return {"source": {"http": {"url": url}}}


def test_larger_disks_take_longer():
    small, large = plan_import(http(), {}, GI), plan_import(http(), {}, 100 * GI)
    assert small.seconds == GI / BYTES_PER_SECOND
    assert large.seconds > 5 * small.seconds


def test_a_blank_disk_is_made_at_once():
    assert plan_import({"source": {"blank": {}}}, {}, 500 * GI).seconds == 1.0


def test_an_annotation_sets_the_time_a_transfer_takes():
    assert plan_import(http(), {"lab.vmkit.io/transfer-seconds": "7.5"}, GI).seconds == 7.5
    assert plan_copy({"lab.vmkit.io/transfer-seconds": "nonsense"}, GI).seconds == GI / BYTES_PER_SECOND


def test_an_address_calls_for_failure():
    assert plan_import(http("https://x/lab-fail.img"), {}, GI).gives_up
    twice = plan_import(http("https://x/lab-fail-2.img"), {}, GI)
    assert (twice.failures, twice.gives_up) == (2, False)
    missing = plan_import(http("https://x/404/debian.img"), {}, GI)
    assert missing.failures == ALWAYS
    assert "expected status code 200, got 404. Status: 404 Not Found" in missing.error


def test_annotations_call_for_failure():
    assert plan_import(http(), {"lab.vmkit.io/transfer-failures": "3"}, GI).failures == 3
    assert plan_import(http(), {"lab.vmkit.io/transfer-failures": "give-up"}, GI).gives_up
    assert plan_import(http(), {"lab.vmkit.io/transfer-failures": "always"}, GI).error


def test_a_transfer_is_scheduled_then_runs_then_is_done():
    plan = TransferPlan(4.0, 100.0)
    assert view_transfer(plan, 0).stage == "scheduled"
    assert view_transfer(plan, 4).stage == "running"
    assert view_transfer(plan, 54).progress == 50.0
    done = view_transfer(plan, 104)
    assert (done.stage, done.progress, done.next_seconds) == ("succeeded", 100.0, None)


def test_failed_attempts_are_counted_as_restarts_with_growing_pauses():
    plan = TransferPlan(0.0, 10.0, failures=2, attempt_seconds=5.0, error="no")
    stages = [(at, view_transfer(plan, at)) for at in (0, 5, 14, 15, 20, 39, 40, 50)]
    assert [(at, view.stage, view.restarts) for at, view in stages] == [
        (0, "running", 0),
        (5, "waiting", 0),
        (14, "waiting", 0),
        (15, "running", 1),
        (20, "waiting", 1),
        (39, "waiting", 1),
        (40, "running", 2),
        (50, "succeeded", 2),
    ]


def test_giving_up_ends_after_three_attempts():
    plan = plan_import(http("https://x/lab-fail.img"), {}, GI)
    over = view_transfer(plan, 10_000)
    assert (over.stage, over.restarts, over.next_seconds) == ("failed", 3, None)


@given(
    seconds=st.floats(0.5, 5000),
    failures=st.integers(0, 6),
    times=st.lists(st.floats(0, 20_000), min_size=2, max_size=30),
)
def test_restarts_and_the_last_attempts_progress_never_fall(seconds, failures, times):
    plan = TransferPlan(POD_START_SECONDS, seconds, failures=failures, error="no")
    views = [view_transfer(plan, at) for at in sorted(times)]
    assert [view.restarts for view in views] == sorted(view.restarts for view in views)
    last = [view.progress for view in views if view.restarts == failures]
    assert last == sorted(last)
    assert all(0 <= view.progress <= 100 for view in views)


@given(seconds=st.floats(0.5, 5000), failures=st.integers(0, 6), elapsed=st.floats(0, 20_000))
def test_nothing_new_shows_before_it_is_announced(seconds, failures, elapsed):
    plan = TransferPlan(POD_START_SECONDS, seconds, failures=failures, error="no")
    view = view_transfer(plan, elapsed)
    if view.next_seconds is not None:
        assert view.next_seconds > 0
        early = view_transfer(plan, elapsed + view.next_seconds * 0.4)
        assert (early.stage, early.progress, early.restarts) == (view.stage, view.progress, view.restarts)
