"""Rules about one workload, for containers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmkit.migrate.rules.model import Category, Check, Hit, Rule, Scope, Subject, Target, hits

BIG_DATA_BYTES: Final = 100 * 2**30
SPARSE_BYTES: Final = 2**30
_DATABASES: Final = frozenset(
    {"postgresql", "mysql", "mongodb", "elasticsearch", "cassandra", "influxdb", "couchdb", "neo4j", "etcd",
     "clickhouse", "rabbitmq", "redis"}
)  # fmt: skip
_IN_MEMORY: Final = frozenset({"redis", "memcached"})
_MAIL: Final = frozenset({"postfix", "exim", "exim4", "sendmail", "dovecot"})


def _database(subject: Subject) -> Iterable[Hit]:
    one = subject.workload.runtime
    if one is None or one.program not in _DATABASES - _IN_MEMORY:
        return []
    return hits([(one.program, one.evidence[:1])])


def _in_memory(subject: Subject) -> Iterable[Hit]:
    one = subject.workload.runtime
    return hits([(one.program, one.evidence[:1])]) if one is not None and one.program in _IN_MEMORY else []


def _shared_state(subject: Subject) -> Iterable[Hit]:
    return hits(
        (f"{one.path} is used by {', '.join(sorted(one.services))}", one.evidence)
        for one in subject.workload.data
        if len(one.services) > 1
    )


def _socket(subject: Subject) -> Iterable[Hit]:
    return hits((one.address, one.evidence) for one in subject.workload.listeners if one.protocol == "unix")


def _root(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    if service.user not in ("root", "0"):
        return []
    evidence = service.unit.evidence[:1] if service.unit else service.cron.evidence if service.cron else []
    # nginx and its like start as root and drop to their own user: their images know how to do without.
    dropping = service.program in ("nginx", "apache", "haproxy", "postgresql", "mysql", "varnish", "squid")
    return [] if dropping else hits([("it runs as root", evidence)])


def _low_port(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    if service.user in ("root", "0"):
        return []
    return hits((f"port {one.port}", one.evidence) for one in service.listeners if one.port and one.port < 1024)


def _state(subject: Subject) -> Iterable[Hit]:
    return hits((f"{one.path} ({one.reason})", one.evidence) for one in subject.workload.data)


def _big(subject: Subject) -> Iterable[Hit]:
    return hits(
        (f"{one.path} holds {one.size_bytes} bytes", one.evidence)
        for one in subject.workload.data
        if one.size_bytes > BIG_DATA_BYTES
    )


def _sparse(subject: Subject) -> Iterable[Hit]:
    return hits(
        (f"{one.path}: {one.allocated_bytes} of {one.size_bytes} bytes are there", one.evidence)
        for one in subject.workload.data
        if one.size_bytes - one.allocated_bytes > SPARSE_BYTES
    )


def _secrets(subject: Subject) -> Iterable[Hit]:
    return hits((one.name, one.evidence) for one in subject.workload.secrets)


def _job(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    if service.cron is not None:
        return hits([(service.cron.schedule, service.cron.evidence)])
    if service.timer is not None:
        return hits([(", ".join([*service.timer.calendar, *service.timer.monotonic]), service.timer.evidence)])
    return []


def _script(subject: Subject) -> Iterable[Hit]:
    unit = subject.workload.unit
    return hits([(unit.path, unit.evidence)]) if unit is not None and unit.kind in ("script", "forking") else []


def _requires(subject: Subject) -> Iterable[Hit]:
    unit = subject.workload.unit
    if unit is None:
        return []
    others = {one.name for one in subject.facts.units if one.role == "workload"} - {unit.name}
    return hits((f"it requires {name}", unit.evidence[:1]) for name in unit.requires if name in others)


def _capabilities(subject: Subject) -> Iterable[Hit]:
    unit = subject.workload.unit
    return hits((name, unit.evidence[:1]) for name in unit.capabilities) if unit is not None else []


def _unknown_program(subject: Subject) -> Iterable[Hit]:
    runtime = subject.workload.runtime
    if runtime is None or runtime.language:
        return []
    return hits([(text, runtime.evidence[:1]) for text in runtime.problems or ["what it runs is not known"]])


def _no_port(subject: Subject) -> Iterable[Hit]:
    service = subject.workload
    if service.kind != "service" or service.listeners or service.unit is None:
        return []
    return hits([("no port is known", service.unit.evidence[:1])])


def _mail(subject: Subject) -> Iterable[Hit]:
    unit = subject.workload.unit
    name = unit.name.removesuffix(".service").split("@", 1)[0] if unit else ""
    return hits([(name, unit.evidence[:1])]) if unit is not None and name in _MAIL else []


def _unit_problems(subject: Subject) -> Iterable[Hit]:
    unit = subject.workload.unit
    return hits((text, unit.evidence[:1]) for text in unit.problems) if unit is not None else []


def _service(name: str, category: Category, weight: int, assessment: str, remedy: str, check: Check) -> Rule:
    return Rule(f"container.{name}", Target.CONTAINER, Scope.SERVICE, category, weight, assessment, remedy, check)


RULES: Final = (
    _service("database", Category.MAJOR, 25, "a database: it can be a StatefulSet, a managed one or an operator is better",
             "use the database's operator (or Rook's own storage services) and load a dump", _database),
    _service("in-memory-store", Category.MINOR, 10, "an in-memory store: what it holds is lost on every restart",
             "use the public image with a volume, or accept the loss", _in_memory),
    _service("shared-state", Category.MAJOR, 20, "several services write into one directory",
             "keep them in one pod, or give the directory a volume that many may write to", _shared_state),
    _service("unix-socket", Category.MAJOR, 10, "it is reached over a Unix socket",
             "keep both ends in one pod with an emptyDir, or let it listen on a port", _socket),
    _service("root-user", Category.MINOR, 5, "it runs as root", "give it a user of its own", _root),
    _service("low-port", Category.MINOR, 5, "it listens below port 1024 without being root",
             "let it listen above, the Service keeps the old port", _low_port),
    _service("state", Category.MINOR, 5, "it keeps state in files", "the directories become PersistentVolumeClaims", _state),
    _service("big-data", Category.MINOR, 10, "its data takes long to copy", "copy it twice: from a snapshot, then the rest",
             _big),
    _service("sparse-data", Category.MINOR, 5, "its files have holes, which a copy may fill",
             "copy with rsync --sparse; never put them into an image", _sparse),
    _service("secrets", Category.MINOR, 5, "secrets stand in its files", "they become Secrets; set new values while at it",
             _secrets),
    _service("job", Category.INFO, 0, "it runs at times", "it becomes a CronJob", _job),
    _service("start-script", Category.MINOR, 5, "it goes into the background by itself",
             "find the option that keeps it in the foreground", _script),
    _service("depends-on", Category.MINOR, 5, "it starts after another service of this machine",
             "let it wait for the other one with retries or an init container", _requires),
    _service("capabilities", Category.MINOR, 5, "it asks for capabilities", "name them in the securityContext", _capabilities),
    _service("unknown-program", Category.MAJOR, 30, "what it runs could not be found out",
             "look at the unit and the program, then override this rule", _unknown_program),
    _service("no-known-port", Category.INFO, 0, "no port could be found in its configuration",
             "inspect the running VM too, or name the port when artifacts are generated", _no_port),
    _service("mail-server", Category.MAJOR, 25, "mail servers are known by their address and its reputation",
             "use a mail relay outside of the cluster", _mail),
    _service("unit-problems", Category.INFO, 0, "its unit file has lines that systemd ignores", "mend the unit file",
             _unit_problems),
)  # fmt: skip
