import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from vmkit.lab import Lab
from vmkit.lab.directory import LabRecord, read_record, write_record

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("VMKIT_LAB_DIR", str(tmp_path / "labs"))


@pytest.fixture
def lab():
    """A running lab that commands find by its name."""
    with Lab(frozen=True, fleet=12, seed=1) as running:
        write_record(LabRecord("lab", running.url, running.kubeconfig, os.getpid()))
        yield running


def test_up_runs_until_it_is_asked_to_end(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "vmkit", "lab", "up", "--frozen", "--fleet", "3"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        path = process.stdout.readline().strip()
        document = yaml.safe_load(Path(path).read_text())
        assert Path(path).stat().st_mode & 0o777 == 0o600
        cluster = document["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        request = urllib.request.Request(
            cluster["server"] + "/apis/kubevirt.io/v1/virtualmachines",
            headers={"Authorization": "Bearer " + document["users"][0]["user"]["token"]},
        )
        with urllib.request.urlopen(request, context=ssl.create_default_context(cadata=authority)) as answer:
            assert len(json.load(answer)["items"]) == 3
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "practice cluster lab at https://127.0.0.1:" in said
    assert "Traceback" not in said
    assert not Path(path).exists()
    assert read_record("lab") is None


def test_up_in_the_background_and_down(tmp_path):
    def vmkit(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "vmkit", *arguments],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    up = vmkit("lab", "up", "--name", "two", "--frozen", "--background")
    try:
        assert up.returncode == 0, up.stderr
        assert Path(up.stdout.strip()).exists()
        listed = vmkit("lab", "status", "-o", "name")
        assert listed.stdout == "two\n"
        again = vmkit("lab", "up", "--name", "two")
        assert again.returncode == 2
        assert "a practice cluster named two runs already" in again.stderr
    finally:
        down = vmkit("lab", "down", "--name", "two")
    assert down.stdout == "practice cluster two ended\n"
    assert vmkit("lab", "status").stderr == "no practice cluster runs; `vmkit lab up` brings one up\n"


def test_a_port_that_is_taken_is_told(run, lab):
    ran = run("lab", "up", "--name", "other", "--port", str(lab.port))
    assert ran.code == 2
    assert f"cannot listen on port {lab.port}" in ran.err


def test_status_lists_what_runs_and_forgets_what_does_not(run, lab, tmp_path):
    write_record(LabRecord("gone", "http://127.0.0.1:1", str(tmp_path / "nothing"), 1))
    ran = run("lab", "status")
    assert ran.code == 0
    assert ran.out.splitlines()[0].split() == ["NAME", "URL", "NOW", "CLOCK", "KUBEVIRT", "VMS", "FAULTS"]
    assert ran.out.splitlines()[1].split()[-4:] == ["frozen", "1.9", "12", "0"]
    assert read_record("gone") is None
    document = json.loads(run("lab", "status", "-o", "json").out)
    assert document["kind"] == "PracticeClusterList"
    assert document["items"][0]["name"] == "lab"
    assert lab.token not in run("lab", "status", "-o", "json").out


def test_the_clock_moves_stands_and_runs(run, lab):
    before = lab.clock.now()
    assert run("lab", "clock").out == f"{before:%Y-%m-%dT%H:%M:%SZ} frozen\n"
    assert run("lab", "clock", "+8h").code == 0
    assert (lab.clock.now() - before).total_seconds() == 8 * 3600
    assert run("lab", "clock", "run", "--speed", "60").out.endswith(" runs x60\n")
    assert run("lab", "clock", "freeze").out.endswith(" frozen\n")
    later = lab.clock.now().replace(year=lab.clock.now().year + 1)
    assert run("lab", "clock", later.isoformat()).code == 0
    assert lab.clock.now() == later


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-30m"], "the clock only moves forward"),
        (["2001-01-01T00:00:00Z"], "the clock only moves forward"),
        (["2030-01-01T00:00:00"], "has no time zone"),
        (["soon"], "'soon' is no instant"),
        (["+soon"], "'soon' is not a duration"),
        (["freeze", "--speed", "2"], "--speed goes with run"),
    ],
)
def test_a_move_that_cannot_be_is_refused(run, lab, arguments, message):
    ran = run("lab", "clock", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_a_lab_that_does_not_run_is_told(run, lab):
    ran = run("lab", "clock", "--name", "none")
    assert ran.code == 2
    assert "no practice cluster named none runs" in ran.err
    assert "there is lab: give --name" in ran.err


def test_a_lab_is_found_by_its_kubeconfig(run, lab, tmp_path):
    (tmp_path / "labs" / "lab.json").unlink()
    assert run("lab", "clock", "--kubeconfig", lab.kubeconfig).code == 0
    other = tmp_path / "other"
    other.write_text("clusters: []")
    ran = run("lab", "clock", "--kubeconfig", str(other))
    assert ran.code == 2
    assert "this kubeconfig leads to no practice cluster" in ran.err


def test_faults_are_added_listed_and_cleared(run, lab, tmp_path):
    assert run("lab", "faults", "list").err == "nothing goes wrong\n"
    assert (
        run("lab", "faults", "add", "error", "--status", "500", "--verb", "list", "--times", "1").out
        == "1 fault\n"
    )
    listed = run("lab", "faults", "list").out.splitlines()[1]
    assert listed.split() == ["error", "0", "verbs=['list']", "times=1", "status=500"]
    file = tmp_path / "faults.yaml"
    file.write_text("faults: [{kind: delay, delay_seconds: 0.1}]\nscript: [{kind: throttle}, {kind: pass}]\n")
    assert run("lab", "faults", "load", str(file)).out == "3 faults added\n"
    assert len(json.loads(run("lab", "faults", "list", "-o", "json").out)["items"]) == 4
    assert run("lab", "faults", "clear").code == 0
    assert run("lab", "faults", "list").err == "nothing goes wrong\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{kind: nonsense}]", "'nonsense' is not a kind of fault"),
        ("[{kind: delay, size: 3}]", "a fault has no 'size'"),
        ("a: b", "these are no faults"),
        ("[", "the faults are no YAML"),
        ("faults: 3", '"faults" and "script" are lists'),
    ],
)
def test_a_file_without_faults_is_told(run, lab, tmp_path, text, message):
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    ran = run("lab", "faults", "load", str(file))
    assert ran.code == 2
    assert message in ran.err


def test_everything_is_saved_and_loaded(run, lab, tmp_path):
    file = tmp_path / "state.json"
    assert run("lab", "save", str(file)).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    moment = lab.clock.now()
    run("lab", "clock", "+30d")
    ran = run("lab", "load", str(file))
    assert ran.code == 0, ran.err
    assert lab.clock.now() == moment
    file.write_text("{}")
    ran = run("lab", "load", str(file))
    assert ran.code == 2
    assert "no state of a practice cluster" in ran.err
    assert run("lab", "load", str(tmp_path / "none")).code == 2


def test_metrics_are_written_now_and_over_a_range(run, lab):
    now = run("lab", "metrics").out
    assert now.endswith("# EOF\n")
    assert "kubevirt_vmi_cpu_usage_seconds_total{" in now
    assert "kubevirt_vmi_memory_cached_bytes" not in now
    assert "kubevirt_vmi_memory_cached_bytes" in run("lab", "metrics", "--all").out
    name = "kubevirt_vmi_memory_usable_bytes"
    rows = run("lab", "metrics", "--from", "-1d", "--step", "1h", "--only", name).out.splitlines()
    stamps = {int(row.rpartition(" ")[2]) for row in rows if row.startswith(name)}
    assert len(stamps) == 24
    assert all(stamp % 3600 == 0 for stamp in stamps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "kubevirt_vmi_cpu_usage"], "there is no metric 'kubevirt_vmi_cpu_usage'"),
        (["--from", "-1d", "--step", "0s"], "--step is at least a second"),
        (["--from", "-1d", "--to", "-2d"], "the range ends before it begins"),
        (["--from", "yesterday"], "'yesterday' is no instant"),
    ],
)
def test_a_range_that_cannot_be_is_refused(run, lab, arguments, message):
    ran = run("lab", "metrics", *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_guests_are_told_how_to_behave(run, lab):
    vm = lab.call(lambda: next(lab.store.entries(lab.world.registry.get("kubevirt.io", "virtualmachines")))).key
    ran = run("lab", "guest", vm.name, "-n", vm.namespace, "users=alice,bob", "load=nightly")
    assert "users=alice,bob" in ran.out
    assert "load=nightly" in ran.out
    assert "users" not in run("lab", "guest", vm.name, "-n", vm.namespace, "users=").out
    ran = run("lab", "guest", "none", "-n", vm.namespace)
    assert ran.code == 3
    assert 'virtualmachines.kubevirt.io "none" not found' in ran.err
    assert run("lab", "guest", vm.name, "users").code == 2


def test_ceph_falls_ill_and_recovers(run, lab):
    assert run("lab", "ceph").out.startswith("HEALTH_OK ")
    assert run("lab", "ceph", "--trouble", "MON_DOWN").out.split()[-1] == "MON_DOWN"
    assert "OSD_FULL" in run("lab", "ceph", "--used", "96%").out
    assert run("lab", "ceph", "--well").out.startswith("HEALTH_OK ")
    assert run("lab", "ceph", "--well", "--trouble", "MON_DOWN").code == 2


def test_a_node_falls_silent_and_comes_back(run, lab):
    def ready():
        node = lab.call(lambda: lab.store.get(lab.world.registry.get("", "nodes"), "", "worker-1"))
        return next(each["status"] for each in node["status"]["conditions"] if each["type"] == "Ready")

    assert run("lab", "node", "worker-1", "silent").out == "worker-1 falls silent\n"
    run("lab", "clock", "+1m")
    assert ready() == "Unknown"
    assert run("lab", "node", "worker-1", "back").code == 0
    run("lab", "clock", "+1s")
    assert ready() == "True"
    assert run("lab", "node", "none", "silent").code == 3


def test_a_lab_that_died_is_forgotten(run, lab):
    lab.stop()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and run("lab", "clock").code == 0:
        pass
    ran = run("lab", "clock")
    assert ran.code == 2
    assert "no practice cluster named lab runs" in ran.err


def test_a_name_that_cannot_be_is_refused(run):
    ran = run("lab", "up", "--name", "../x")
    assert ran.code == 2
    assert "cannot be the name of a lab" in ran.err


SECRET_TEXT = "chpasswd: {list: 'root:hunter2'}"


def import_from(run, lab, *options):
    """Imports a second practice cluster that stands for the real one; returns what `lab` has then."""
    with Lab(frozen=True, fleet=30, seed=7) as real:

        def tell_a_secret():
            vms = real.world.registry.get("kubevirt.io", "virtualmachines")
            for vm in real.store.list(vms):
                for volume in vm["spec"].get("template", {}).get("spec", {}).get("volumes", ()):
                    if "cloudInitNoCloud" in volume:
                        volume["cloudInitNoCloud"]["userData"] = SECRET_TEXT
                        real.store.update(vms, vm)
            secrets = real.world.registry.get("", "secrets")
            body = {"metadata": {"name": "hidden", "namespace": "default"}, "data": {"a": "aHVudGVyMg=="}}
            real.store.create(secrets, body)
            return {entry.key: entry.decode() for entry in real.store.entries(vms)}

        there = real.call(tell_a_secret)
        ran = run("lab", "import", "--kubeconfig", real.kubeconfig, *options)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("30 VMs imported")
    assert "hunter2" not in ran.out + ran.err

    def look():
        lab.clock.advance(timedelta(minutes=3))
        vms = lab.world.registry.get("kubevirt.io", "virtualmachines")
        return {entry.key: entry.decode() for entry in lab.store.entries(vms)}, lab.store.find(
            lab.world.registry.get("", "secrets"), "default", "hidden"
        )

    here, secret = lab.call(look)
    assert secret is None
    assert "hunter2" not in json.dumps(list(here.values()))
    return there, here


@pytest.fixture
def empty_lab():
    with Lab(frozen=True) as running:
        write_record(LabRecord("lab", running.url, running.kubeconfig, os.getpid()))
        yield running


def test_a_real_clusters_vms_are_imported_without_its_secrets(run, empty_lab):
    there, here = import_from(run, empty_lab)
    assert here.keys() == there.keys()
    for key, vm in there.items():
        if (vm.get("status") or {}).get("printableStatus") == "Running":
            assert here[key]["status"]["printableStatus"] == "Running", key
            assert here[key]["metadata"]["labels"] == vm["metadata"]["labels"]


def test_names_alone_can_be_imported(run, empty_lab):
    there, here = import_from(run, empty_lab, "--names-only")
    assert here.keys() == there.keys()
    assert all(not vm["metadata"].get("labels") for vm in here.values())
    claims = empty_lab.call(
        lambda: empty_lab.store.count(empty_lab.world.registry.get("", "persistentvolumeclaims"))
    )
    assert claims == 0
