"""All inspectors, in the order in which one needs the other's result: from a tree to the facts document."""

from __future__ import annotations

import msgspec

from vmkit.migrate.facts import Facts, Listener, OperatingSystem, Source, make_safe
from vmkit.migrate.inspect.accounts import inspect_groups, inspect_users
from vmkit.migrate.inspect.cron import inspect_cron
from vmkit.migrate.inspect.files import configuration_paths, inspect_data, inspect_unowned
from vmkit.migrate.inspect.listeners import inspect_listeners
from vmkit.migrate.inspect.mounts import inspect_mounts
from vmkit.migrate.inspect.needs import inspect_engines, inspect_kernel, inspect_licences, inspect_network
from vmkit.migrate.inspect.packages import find_changed, inspect_packages
from vmkit.migrate.inspect.runtimes import inspect_runtimes
from vmkit.migrate.inspect.secrets import inspect_secrets
from vmkit.migrate.inspect.system import inspect_system
from vmkit.migrate.inspect.units import inspect_units
from vmkit.migrate.inspect.webservers import inspect_webservers
from vmkit.migrate.tree.rooted import Tree


def inspect_tree(tree: Tree, source: Source, *, notes: tuple[str, ...] = ()) -> Facts:
    """Collects every fact. What cannot be read is a note in the document, not an error.

    Raises:
        EvidenceError: the limits of time or bytes are spent.
    """
    system = inspect_system(tree)
    packages, ownership = inspect_packages(tree)
    units, timers = inspect_units(tree, ownership)
    cron_jobs = inspect_cron(tree, ownership)
    web_listeners, sites = inspect_webservers(tree)
    enabled = {unit.name for unit in units}
    sites = [site for site in sites if site.service in enabled]
    listeners = inspect_listeners(tree, units, web_listeners)
    runtimes, code_listeners = inspect_runtimes(tree, units, sites, ownership)
    known = {(one.service, one.port) for one in listeners}
    with_ports = {one.service for one in listeners if one.port is not None}
    for one in code_listeners:
        # The command line is nearer to what happens than the code's own default.
        if (one.service, one.port) not in known and one.service not in with_ports:
            listeners.append(one)
    http = {(one.service, one.port) for one in code_listeners if one.http}
    served = {one.service for one in runtimes if one.application in ("wsgi", "asgi", "fetch")}
    listeners = [
        _with_http(one) if (one.service, one.port) in http or one.service in served else one for one in listeners
    ]
    mounts = inspect_mounts(tree)
    changed = find_changed(tree, ownership)
    unowned, unowned_notes = inspect_unowned(tree, ownership)
    data = inspect_data(tree, units, runtimes, mounts)
    paths = [one.path for one in unowned]
    return make_safe(
        Facts(
            source=source,
            os=system,
            packages=packages,
            units=units,
            timers=timers,
            cron_jobs=cron_jobs,
            listeners=sorted(listeners, key=lambda one: (one.service, one.port or 0, one.address)),
            runtimes=runtimes,
            static_sites=sites,
            unowned_files=unowned,
            changed_configuration=changed,
            data_directories=data,
            users=inspect_users(tree),
            groups=inspect_groups(tree),
            mounts=mounts,
            kernel_needs=inspect_kernel(tree, units, packages, ownership),
            engines=inspect_engines(units, tree),
            network_needs=inspect_network(tree, listeners, mounts),
            secrets=inspect_secrets(tree, configuration_paths(unowned, (one.path for one in changed)), units),
            licences=inspect_licences(tree, packages, paths),
            notes=[*notes, *unowned_notes, *tree.problems],
        )
    )


def _with_http(listener: Listener) -> Listener:
    return msgspec.structs.replace(listener, http=True) if listener.protocol == "tcp" else listener


def describe_unreadable(source: Source, *, notes: tuple[str, ...] = ()) -> Facts:
    """The facts of a machine whose root could not be read: its disks, and why."""
    kinds = {volume.filesystem for volume in source.volumes}
    family = "windows" if kinds & {"ntfs", "BitLocker"} else ""
    system = OperatingSystem(family=family) if family else None
    return make_safe(Facts(source=source, os=system, notes=list(notes)))
