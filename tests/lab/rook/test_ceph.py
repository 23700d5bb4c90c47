import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkit.lab.rook.ceph import Capacity, allocated_bytes, build_ceph_status, decide_health

TI = 1024**4


@pytest.mark.parametrize(
    ("used", "health", "codes"),
    [
        (0.10, "HEALTH_OK", set()),
        (0.849, "HEALTH_OK", set()),
        (0.85, "HEALTH_WARN", {"OSD_NEARFULL", "POOL_NEARFULL"}),
        (0.90, "HEALTH_WARN", {"OSD_BACKFILLFULL", "POOL_BACKFILLFULL"}),
        (0.95, "HEALTH_ERR", {"OSD_FULL", "POOL_FULL"}),
    ],
)
def test_fullness_decides_the_health(used, health, codes):
    found, details = decide_health(Capacity(1000, int(1000 * used)))
    assert (found, set(details)) == (health, codes)


@pytest.mark.parametrize(
    ("troubles", "health"),
    [
        (["MON_DOWN"], "HEALTH_WARN"),
        (["HEALTH_WARN"], "HEALTH_WARN"),
        (["HEALTH_ERR"], "HEALTH_ERR"),
        (["MON_DOWN", "PG_AVAILABILITY"], "HEALTH_ERR"),
        (["SOMETHING_NEW"], "HEALTH_WARN"),
    ],
)
def test_troubles_decide_the_health(troubles, health):
    found, details = decide_health(Capacity(100, 1), troubles)
    assert found == health
    assert len(details) == len(troubles)
    assert all(detail["message"] for detail in details.values())


def test_a_cluster_without_disks_is_full():
    assert Capacity(0, 0).ratio == 1.0


def test_a_change_of_health_is_remembered():
    well = build_ceph_status({}, Capacity(TI, 1), [], at="t1", fsid="f")
    ill = build_ceph_status(well, Capacity(TI, 1), ["MON_DOWN"], at="t2", fsid="f")
    same = build_ceph_status(ill, Capacity(TI, 2), ["MON_DOWN"], at="t3", fsid="f")
    assert "previousHealth" not in well
    assert (ill["previousHealth"], ill["lastChanged"]) == ("HEALTH_OK", "t2")
    assert (same["previousHealth"], same["lastChanged"]) == ("HEALTH_OK", "t2")


@given(st.integers(0, 2**60), st.sampled_from(["blank", "clone", "import"]))
def test_a_thin_volume_never_holds_more_than_its_size(size, origin):
    assert 0 <= allocated_bytes(size, origin) <= size
