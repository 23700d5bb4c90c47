"""The recommender against known answers: the vertical pod autoscaler's own tests, and runs of its code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from vmkit.insight.histogram import (
    Buckets,
    DecayingHistogram,
    Histogram,
    build_exponential_buckets,
    build_linear_buckets,
)
from vmkit.insight.recommender import (
    CPU_BUCKETS,
    MEMORY_BUCKETS,
    Confidence,
    Resources,
    Settings,
    UsageHistory,
    compute_usage,
    decide_recommendation,
    scale_resources,
)

CASES = json.loads((Path(__file__).resolve().parents[1] / "data/vpa.json").read_text(encoding="utf-8"))


def _ids(section: list[dict]) -> list[str]:
    return [case.get("name") or case["path"].rpartition(":")[2] for case in section]


def _cases(section: list[dict]):
    return pytest.mark.parametrize("case", section, ids=_ids(section))


def _buckets(options: dict) -> Buckets:
    rest = {key: value for key, value in options.items() if key != "type"}
    return build_linear_buckets(**rest) if options["type"] == "linear" else build_exponential_buckets(**rest)


@_cases(CASES["unit_histogram_options"])
def test_values_fall_into_the_known_buckets(case: dict) -> None:
    buckets = _buckets(case["options"])
    assert len(buckets.starts) == case["num_buckets"]
    for number, start in case["bucket_start"]:
        assert buckets.starts[number] == pytest.approx(start)
    assert [buckets.find(value) for value, _ in case["find_bucket"]] == [found for _, found in case["find_bucket"]]


@_cases(CASES["unit_histogram"])
def test_percentiles_are_the_upper_edges_of_buckets(case: dict) -> None:
    histogram = Histogram(_buckets(case["options"]))
    for value, weight in case["samples"]:
        histogram.add(value, weight)
    for share, expected in case["percentiles"]:
        assert histogram.compute_percentile(share) == pytest.approx(expected), share


@_cases(CASES["unit_histogram_empty"])
def test_less_than_epsilon_is_empty(case: dict) -> None:
    histogram = Histogram(_buckets(case["options"]))
    for verb, *operands in case["steps"]:
        if verb == "is_empty":
            assert histogram.is_empty is operands[0]
        else:
            (histogram.add if verb == "add" else histogram.subtract)(*operands)


@_cases([case for case in CASES["unit_decaying_histogram"] if "percentiles" in case])
def test_older_samples_weigh_less(case: dict) -> None:
    histogram = DecayingHistogram(_buckets(case["options"]), half_life_seconds=case["half_life_s"])
    for sample in case["samples"]:
        histogram.add(*sample)
    for share, expected in case["percentiles"]:
        assert histogram.compute_percentile(share) == pytest.approx(expected), share


@_cases([case for case in CASES["unit_decaying_histogram"] if "merge" in case])
def test_merged_histograms_are_as_one_of_all_samples(case: dict) -> None:
    def build(samples: list) -> DecayingHistogram:
        histogram = DecayingHistogram(_buckets(case["options"]), half_life_seconds=case["half_life_s"])
        for sample in samples:
            histogram.add(*sample)
        return histogram

    first, second = (build(samples) for samples in case["merge"])
    first.merge(second)
    together = build(case["equals_samples"])

    def shares(histogram: DecayingHistogram) -> list[float]:
        return [weight / histogram.histogram.total for weight in histogram.histogram.weights]

    assert shares(first) == pytest.approx(shares(together))


ESTIMATORS = dict(zip(_ids(CASES["unit_estimators"]), CASES["unit_estimators"], strict=True))


def _base(case: dict) -> Resources:
    return Resources(int(case["base_cpu_cores"] * 1000), int(case.get("base_memory_bytes", 0)))


def test_usage_is_read_at_a_percentile() -> None:
    case, history = ESTIMATORS["TestPercentileEstimator"], UsageHistory()
    for (cores, weight), (used, _) in zip(case["cpu_samples"], case["memory_samples"], strict=True):
        history.cpu.add(cores, weight, 0)
        history.memory.add(used, weight, 0)
    cpu = compute_usage(history, percentile=case["cpu_percentile"]).cpu_millicores
    memory = compute_usage(history, percentile=case["memory_percentile"]).memory_bytes
    assert cpu / 1000 == pytest.approx(case["expect_cpu_cores"], rel=case["max_relative_error"])
    assert memory == pytest.approx(case["expect_memory_bytes"], rel=case["max_relative_error"])


@pytest.mark.parametrize("name", ["TestConfidenceMultiplier", "TestConfidenceMultiplierWithCustomInterval"])
def test_little_confidence_widens_a_bound(name: str) -> None:
    case, history = ESTIMATORS[name], UsageHistory()
    for number in range(case["samples"]):
        history.add_cpu(number * case["sample_step_s"], 1.0)
    confidence = history.compute_confidence(case["confidence_interval_s"])
    assert confidence == pytest.approx(case["expect_confidence"])
    factor = Confidence(case["multiplier"], case["exponent"]).compute_factor(confidence)
    scaled = scale_resources(_base(case), factor)
    assert scaled.cpu_millicores == pytest.approx(case["expect_cpu_cores"] * 1000, abs=1)
    assert scaled.memory_bytes == pytest.approx(case["expect_memory_bytes"], abs=1e6)


def test_no_confidence_bounds_nothing() -> None:
    case = ESTIMATORS["TestConfidenceMultiplier(no history)"]
    for each in case["cases"]:
        factor = Confidence(each["multiplier"], each["exponent"]).compute_factor(0.0)
        assert scale_resources(_base(case), factor).cpu_millicores == each["expect_amount"]


def test_the_margin_is_added() -> None:
    case = ESTIMATORS["TestMarginEstimator"]
    scaled = scale_resources(_base(case), 1 + case["margin"])
    assert scaled.cpu_millicores == pytest.approx(case["expect_cpu_cores"] * 1000, abs=1)
    assert scaled.memory_bytes == pytest.approx(case["expect_memory_bytes"], abs=1)


@pytest.mark.parametrize("name", ["TestMinResourcesApplied", "TestMinResourcesSplitAcrossContainers"])
def test_floors_hold(name: str) -> None:
    case = ESTIMATORS[name]
    settings = Settings(
        min_cpu_millicores=25 // case["n_containers"], min_memory_bytes=262144000 // case["n_containers"]
    )
    history = UsageHistory(settings)
    history.add_cpu(0, case["base_cpu_cores"])
    history.add_memory(0, case["base_memory_bytes"])
    recommendation = decide_recommendation(history, settings)
    assert recommendation is not None
    assert recommendation.target == (case["expect_cpu_millicores"], case["expect_memory_bytes"])


@_cases(CASES["unit_memory_windows"]["cases"])
def test_one_peak_of_memory_counts_for_each_window(case: dict) -> None:
    settings = Settings(memory_window_seconds=case["interval_s"])
    history, start = UsageHistory(settings), 1_492_536_905
    accepted = True
    for verb, offset, amount in case["steps"]:
        accepted = (history.add_memory if verb == "mem" else history.add_out_of_memory)(start + offset, amount)
    assert accepted is not case.get("error_on_last", False)
    expected = DecayingHistogram(MEMORY_BUCKETS, half_life_seconds=settings.half_life_seconds)
    for verb, amount, weight, offset in case["ops"]:
        (expected.add if verb == "add" else expected.subtract)(amount, weight, start + offset)
    assert history.memory.histogram.weights == expected.histogram.weights
    if cpu := case.get("cpu"):
        assert all(history.add_cpu(start + offset, cores) for offset, cores in cpu["samples"])
        assert not any(history.add_cpu(start + offset, cores) for _, offset, cores in cpu["rejected"])


def _expand(rle: list) -> list[float]:
    return [math.nan if value == -1 else float(value) for value, count in rle for _ in range(count)]


def _near(got: Resources, expected: dict) -> bool:
    return (
        abs(got.cpu_millicores - expected["cpu_milli"]) <= 1 and abs(got.memory_bytes - expected["mem_bytes"]) <= 1
    )


@_cases(CASES["end_to_end"]["cases"])
@pytest.mark.parametrize("bulk", [False, True])
def test_recommendations_are_the_autoscalers(case: dict, bulk: bool) -> None:
    history = UsageHistory()
    cpu, memory = _expand(case["cpu_cores_rle"]), _expand(case["mem_bytes_rle"])
    start, step, ooms = case["start_unix"], case["step_s"], list(case["ooms"])
    if bulk and not ooms:
        counted = history.add_cpu_series(cpu, start_seconds=start, step_seconds=step)
        history.sample_minutes = counted  # the autoscaler counts samples, not minutes
        history.add_memory_series(memory, start_seconds=start, step_seconds=step)
    else:
        for number, (cores, used) in enumerate(zip(cpu, memory, strict=True)):
            at = start + number * step
            while ooms and at >= ooms[0]["t"]:
                history.add_out_of_memory(ooms[0]["t"], ooms.pop(0)["requested_bytes"])
            history.add_cpu(at, cores)
            history.add_memory(at, used)
    got, expected = decide_recommendation(history), case["expected"]
    assert got is not None
    assert _near(got.target, expected["target"])
    assert _near(got.lower, expected["lower_bound"])
    assert _near(got.upper, expected["upper_bound"])
    assert got.sample_minutes == expected["total_cpu_samples"]
    for share in (50, 90, 95):
        assert history.cpu.compute_percentile(share / 100) == pytest.approx(expected[f"cpu_p{share}_cores"])
        assert history.memory.compute_percentile(share / 100) == pytest.approx(expected[f"mem_p{share}_bytes"])


def test_confidence_follows_time_and_not_how_often_somebody_looked() -> None:
    def confidence(step_seconds: int) -> float:
        history = UsageHistory()
        count = 8 * 86_400 // step_seconds
        history.add_cpu_series([1.0] * count, start_seconds=0, step_seconds=step_seconds)
        return history.compute_confidence()

    assert confidence(3600) == pytest.approx(confidence(60), rel=0.01)


def test_what_was_not_measured_is_not_recommended() -> None:
    history = UsageHistory()
    assert decide_recommendation(history) is None
    history.add_cpu(0, 1.0)
    assert decide_recommendation(history) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_what_is_no_amount_is_not_counted(value: float) -> None:
    history = UsageHistory()
    assert not history.add_cpu(0, value)
    assert not history.add_memory(0, value)
    assert not history.add_out_of_memory(0, value)
    assert history.add_cpu_series([value] * 3, start_seconds=0, step_seconds=60) == 0
    assert history.add_memory_series([value] * 3, start_seconds=0, step_seconds=60) == 0
    assert history.cpu.is_empty
    assert history.memory.is_empty


def test_time_that_goes_backwards_is_not_counted() -> None:
    history = UsageHistory()
    assert history.add_cpu_series([1.0, 1.0], start_seconds=1000, step_seconds=60) == 2
    assert history.add_cpu_series([9.0], start_seconds=1060, step_seconds=60) == 0
    assert not history.add_cpu(900, 9.0)
    assert history.add_memory(1000, 5e9)
    assert not history.add_memory(999, 9e9)


def test_the_buckets_are_those_of_the_autoscaler() -> None:
    for buckets, name in ((CPU_BUCKETS, "cpu_histogram"), (MEMORY_BUCKETS, "memory_histogram")):
        constants = {key: value for key, value in CASES["constants"][name].items() if key not in {"type", "unit"}}
        assert buckets == build_exponential_buckets(**constants, epsilon=CASES["constants"]["epsilon"])
