"""`Vmkit`: everything the command line does, as Python calls that return what it prints.

    from vmkit import Vmkit

    with Vmkit.connect() as vk:
        for vm in vk.get(selector="app=web"):
            print(vm.ref, vm.power)
        result = vk.stop("web-1", "web-2", wait=True)
        print(result.counts)

Every method is one command; the arguments are the command's options. A call is its own consent: nothing is asked
unless ``confirm`` is given. What happened to each object is in the result, never raised; what prevents the whole
run (no cluster, an unknown option, a limit) is raised as a `vmkit.errors.VmkitError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from vmkit.arguments import CreateArguments, DeleteArguments, RunArguments, StopArguments
from vmkit.errors import ClusterError, UsageError
from vmkit.vm.reference import VmRef, parse_vm_ref

if TYPE_CHECKING:
    from vmkit.cluster.session import Session
    from vmkit.doctor.model import Examination
    from vmkit.idle.running import IdleOptions, IdleRun
    from vmkit.idling import Idling
    from vmkit.insights import Insights
    from vmkit.inventory.description import Descriptions
    from vmkit.inventory.listing import Inventory
    from vmkit.metrics.prometheus.client import PrometheusClient
    from vmkit.metrics.source import UsageSource
    from vmkit.plan.model import Outcome, Plan, Result
    from vmkit.power import Selection
    from vmkit.provision.catalog import Catalog
    from vmkit.provision.importing import Imported
    from vmkit.provision.lint import Finding
    from vmkit.provision.options import CreateResult
    from vmkit.provision.request import CreateRequest
    from vmkit.scheduling import Scheduling

Options = TypeVar("Options")


class Vmkit:
    """A connection to one cluster, and what can be done there. Use it as a context manager."""

    def __init__(self, session: Session) -> None:
        self.session = session
        """The connection itself, for everything vmkit has no call for."""

    @classmethod
    def connect(
        cls,
        *,
        kubeconfig: str | Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
        connections: int = 16,
        request_timeout_seconds: float = 30.0,
        on_warning: Callable[[str], None] | None = None,
    ) -> Self:
        """Connects to a cluster, found as kubectl finds it.

        Args:
            kubeconfig: the file; else $KUBECONFIG, ~/.kube/config, the pod's own service account.
            context: the context of the kubeconfig; else its current one.
            namespace: the namespace of names without one; else the context's.
            connections: how many requests may be under way at once.
            request_timeout_seconds: how long the server may be silent during one request.
            on_warning: told of each different warning the server sends along, and once when it does not answer
                and is asked again.

        Raises:
            ConfigError: there is no kubeconfig that can be used.
        """
        from vmkit.cluster.session import Session

        return cls(
            Session.connect(
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                connections=connections,
                request_timeout_seconds=request_timeout_seconds,
                on_warning=on_warning,
            )
        )

    def close(self) -> None:
        """Closes the connections."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def namespace(self) -> str:
        """The namespace of names without one."""
        return self.session.namespace

    @property
    def now(self) -> datetime:
        """The cluster's time as its last answer had it, else this machine's: ages are counted up to here."""
        return self.session.server_time or datetime.now(UTC)

    # --- looking ---

    def get(
        self,
        *names: str | VmRef,
        selector: str = "",
        all_namespaces: bool = False,
        namespace: str | None = None,
        instances: bool = True,
    ) -> Inventory:
        """VMs: the named ones, those that match, or all of the namespace.

        Args:
            names: "name", "namespace/name" or references; a VM that is not there is among the result's errors.
            selector: of labels, in kubectl's syntax.
            all_namespaces: look in all of them.
            namespace: look in this one; else the connection's.
            instances: False leaves nodes and addresses out, for half the requests.

        Raises:
            InputError, ClusterError: nothing could be read.
        """
        from vmkit.inventory.listing import read_inventory

        return read_inventory(
            self.session,
            names=self._refs(names, namespace),
            namespace=None if all_namespaces else namespace or self.namespace,
            label_selector=selector,
            instances=instances,
        )

    def describe(
        self,
        *names: str | VmRef,
        selector: str = "",
        all_namespaces: bool = False,
        namespace: str | None = None,
    ) -> Descriptions:
        """Everything about VMs: state, disks and their progress, events, owners. Arguments as for `get`."""
        from vmkit.inventory.description import read_descriptions
        from vmkit.power.ownership import read_verdicts

        return read_descriptions(
            self.session,
            names=self._refs(names, namespace),
            namespace=None if all_namespaces else namespace or self.namespace,
            label_selector=selector,
            read_verdicts=lambda views: read_verdicts(self.session, views, "stop"),
        )

    def namespaces(self) -> Iterator[str]:
        """The names of the cluster's namespaces."""
        from vmkit.cluster.resources import NAMESPACES

        yield from (item["metadata"]["name"] for item in self.session.list(NAMESPACES))

    def vm_names(self, *, namespace: str | None = None) -> Iterator[str]:
        """The names of the namespace's VMs, and nothing else about them."""
        from vmkit.cluster.resources import VIRTUAL_MACHINES

        for item in self.session.list(VIRTUAL_MACHINES, namespace or self.namespace):
            metadata = item.get("metadata")
            if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
                yield metadata["name"]

    # --- creating ---

    @staticmethod
    def templates(*directories: str | Path) -> Catalog:
        """The templates there are: in these directories, the project's, your own and those vmkit brings.

        Needs no cluster: ``Vmkit.templates().find("debian")``.
        """
        from vmkit.provision.catalog import Catalog

        return Catalog(directories)

    @staticmethod
    def lint(name: str, *directories: str | Path) -> list[Finding]:
        """What would be refused, lose data or surprise, in a template: its name, or the path of its file.

        Raises:
            TemplateError: there is no such template, or it cannot be read.
        """
        from vmkit.provision.catalog import Catalog
        from vmkit.provision.lint import lint_template

        return lint_template(Catalog(directories).find(name))

    @staticmethod
    def render(
        name: str,
        template: str,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the command's own word
        disks: Mapping[str, str] | None = None,
        namespace: str = "",
        template_dirs: Sequence[str | Path] = (),
        show_secrets: bool = False,
    ) -> list[dict[str, Any]]:
        """The manifests that a template gives for a VM of that name, without asking any cluster.

        Secret data is left out unless it is asked for.

        Raises:
            InputError: the name, an answer or the template is wrong.
        """
        from vmkit.provision.catalog import Catalog
        from vmkit.provision.offline import render_offline
        from vmkit.provision.request import CreateRequest

        request = CreateRequest(name, template, namespace, dict(set or {}), dict(disks or {}))
        return render_offline(request, Catalog(template_dirs), show_secrets=show_secrets)[0]

    @staticmethod
    def import_template(manifest: Mapping[str, Any], *, name: str = "") -> Imported:
        """Makes a template of a VM, a VirtualMachineTemplate or an OpenShift Template; its ``text`` is the file.

        Raises:
            ManifestError: it is none of these.
        """
        from vmkit.provision.importing import import_manifest

        return import_manifest(manifest, where="manifest", name=name)

    def create(
        self,
        *names: str,
        template: str = "",
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the option is called --set
        disks: Mapping[str, str] | None = None,
        ssh_keys: Sequence[str] = (),
        storage: str = "auto",
        instancetype: str = "",
        preference: str = "",
        labels: Mapping[str, str] | None = None,
        namespace: str = "",
        count: int = 1,
        requests: Iterable[CreateRequest] = (),
        fleet: str | Path | None = None,
        template_dirs: Sequence[str | Path] = (),
        **arguments: Unpack[CreateArguments],
    ) -> CreateResult:
        """Creates VMs from a template. One that exists is left as it is, and never started or stopped.

        Args:
            names: the VMs' names, for VMs that are alike; the other arguments say what they are.
            template: the template's name, or the path of a template file.
            set: answers to the template's parameters.
            disks: sizes by disk name ("100Gi"): a disk the template has gets that size, any other is a blank one.
            ssh_keys: public keys.
            storage: a storage class, or "auto".
            instancetype, preference: in place of CPU and memory of the template.
            labels: further labels of the VMs.
            namespace: else the connection's.
            count: so many of each name: "web" gives web-1, web-2 ...
            requests: VMs asked for one by one, besides the names.
            fleet: a fleet file, besides those.
            template_dirs: directories in which templates are looked for first.

        Raises:
            InputError: a request, an answer or a template is wrong; nothing was sent.
        """
        from vmkit.provision.catalog import Catalog
        from vmkit.provision.create import run_create
        from vmkit.provision.options import CreateOptions
        from vmkit.provision.request import CreateRequest, expand_count, read_fleet

        asked: list[CreateRequest] = []
        for name in names:
            request = CreateRequest(
                name,
                template,
                namespace=namespace,
                answers=dict(set or {}),
                disks=dict(disks or {}),
                ssh_keys=tuple(ssh_keys),
                storage=storage,
                instancetype=instancetype,
                preference=preference,
                labels=dict(labels or {}),
                index=len(asked),
            )
            asked += expand_count(request, count)
        asked += requests
        if fleet is not None:
            asked += read_fleet(Path(fleet))
        if not asked:
            raise UsageError("no VM is asked for", hint="give a name and a template, requests, or a fleet file")
        options: dict[str, Any] = dict(arguments)
        callbacks = _take_callbacks(options)
        return run_create(
            self.session, asked, _options(CreateOptions, options), catalog=Catalog(template_dirs), **callbacks
        )

    def clone(
        self,
        source: str | VmRef,
        name: str,
        *,
        namespace: str = "",
        count: int = 1,
        run_strategy: str = "",
        **arguments: Unpack[CreateArguments],
    ) -> CreateResult:
        """Creates VMs as copies of an existing one, disks included.

        Args:
            source: the VM to copy.
            name: the new VM's name; with ``count`` above 1 the stem of the names.
            namespace: the new VMs'; else the source's.
            count: how many.
            run_strategy: of the new VMs; else the source's.

        Raises:
            NotFound: there is no such VM.
            Refused: it runs, and its disks cannot be snapshotted.
        """
        from vmkit.provision.clone import CloneRequest, run_clone
        from vmkit.provision.options import CreateOptions

        (ref,) = self._refs((source,), None)
        request = CloneRequest(ref, name, namespace=namespace, count=count, run_strategy=run_strategy)
        options: dict[str, Any] = dict(arguments)
        callbacks = _take_callbacks(options)
        return run_clone(self.session, request, _options(CreateOptions, options), **callbacks)

    # --- power ---

    def start(self, *names: str | VmRef, **arguments: Unpack[RunArguments]) -> Result:
        """Starts VMs. One that runs is left as it is; a strategy that a stop replaced is brought back."""
        return self._power("start", names, arguments)

    def stop(self, *names: str | VmRef, **arguments: Unpack[StopArguments]) -> Result:
        """Stops VMs. One that is stopped is left as it is; its own run strategy comes back with the next start."""
        return self._power("stop", names, arguments)

    def restart(self, *names: str | VmRef, **arguments: Unpack[StopArguments]) -> Result:
        """Stops running VMs and starts them again."""
        return self._power("restart", names, arguments)

    def pause(self, *names: str | VmRef, **arguments: Unpack[RunArguments]) -> Result:
        """Freezes running VMs in memory."""
        return self._power("pause", names, arguments)

    def unpause(self, *names: str | VmRef, **arguments: Unpack[RunArguments]) -> Result:
        """Lets paused VMs run on."""
        return self._power("unpause", names, arguments)

    def live_migrate(self, *names: str | VmRef, **arguments: Unpack[RunArguments]) -> Result:
        """Moves running VMs to other nodes without stopping them."""
        return self._power("live-migrate", names, arguments)

    def delete(self, *names: str | VmRef, **arguments: Unpack[DeleteArguments]) -> Result:
        """Stops VMs, waits until their instances are gone, and deletes them; their disks stay unless told."""
        from vmkit.power import DeleteOptions, run_delete

        options: dict[str, Any] = dict(arguments)
        callbacks = _take_callbacks(options)
        selection = self._selection(names, options)
        return run_delete(self.session, selection, _options(DeleteOptions, options), **callbacks)

    def _power(self, verb: str, names: tuple[str | VmRef, ...], arguments: Any) -> Result:
        from vmkit.power import PowerOptions, Verb, run_power

        options: dict[str, Any] = dict(arguments)
        callbacks = _take_callbacks(options)
        selection = self._selection(names, options)
        return run_power(self.session, Verb(verb), selection, _options(PowerOptions, options), **callbacks)

    # --- schedules ---

    @property
    def schedule(self) -> Scheduling:
        """The calls about schedules: ``vk.schedule.run()`` is ``vmkit schedule run``."""
        from vmkit.scheduling import Scheduling

        return Scheduling(self.session)

    # --- what VMs need ---

    def find_prometheus(self) -> PrometheusClient | None:
        """A client of the cluster's Prometheus; None where there is none that answers, or nobody may look."""
        from vmkit.metrics.prometheus.discovery import discover_prometheus

        try:
            return discover_prometheus(self.session)
        except ClusterError:
            return None

    def insights(self, prometheus: PrometheusClient | str | None = None) -> Insights:
        """The calls about capacity, sizes and energy: ``vk.insights().capacity()`` is ``vmkit report capacity``.

        Args:
            prometheus: a client, or an address; None looks for one in the cluster.
        """
        from vmkit.insights import Insights
        from vmkit.metrics.prometheus.client import PrometheusClient

        if isinstance(prometheus, str):
            prometheus = PrometheusClient(prometheus)
        return Insights(self.session, prometheus or self.find_prometheus())

    def doctor(
        self,
        *,
        checks: Sequence[str] = (),
        commands: Sequence[str] = (),
        prometheus: PrometheusClient | str | None = None,
    ) -> Examination:
        """Finds what is missing or wrong around VMs, and what mends it; changes nothing.

        Args:
            checks: names of the checks to run; none for all.
            commands: commands that must be allowed all they do; none asks about all.
            prometheus: a client, or an address; None looks for one in the cluster.

        Raises:
            UsageError: there is no such check or command. ClusterError: the cluster does not answer.
        """
        from vmkit.doctor.run import examine
        from vmkit.metrics.prometheus.client import PrometheusClient

        if isinstance(prometheus, str):
            prometheus = PrometheusClient(prometheus)
        return examine(self.session, prometheus, checks=checks, commands=commands)

    def idle(
        self, prometheus: PrometheusClient | str | None = None, *, source: UsageSource | None = None
    ) -> Idling:
        """The calls about idle VMs: ``vk.idle(...).run()`` is ``vmkit stop-idle``.

        Args:
            prometheus: a client, or an address; None for none.
            source: who knows of use, in place of Prometheus.
        """
        from vmkit.idling import Idling
        from vmkit.metrics.prometheus.client import PrometheusClient

        if isinstance(prometheus, str):
            prometheus = PrometheusClient(prometheus)
        return Idling(self.session, prometheus, source=source)

    def stop_idle(
        self,
        options: IdleOptions | None = None,
        *,
        prometheus: PrometheusClient | str | None = None,
        source: UsageSource | None = None,
        confirm: Callable[[Plan], None] | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> IdleRun:
        """Notes VMs that nobody uses, and stops those that were noted before and are idle still.

        Args:
            options: which VMs, what counts as idle, how much notice; by default those that are labelled.
            prometheus: a client, or an address; None looks for one in the cluster.
            source: who knows of use, in place of Prometheus.
            confirm: shown the plan before the first change.
            on_outcome: told of each outcome.

        Raises:
            ClusterError: the VMs cannot be read. Refused: far more is idle than at the last run.
        """
        if source is None and prometheus is None:
            prometheus = self.find_prometheus()
        return self.idle(prometheus, source=source).run(options, confirm=confirm, on_outcome=on_outcome)

    # --- what methods share ---

    def _refs(self, names: tuple[str | VmRef, ...], namespace: str | None) -> tuple[VmRef, ...]:
        default = namespace or self.namespace
        return tuple(
            name if isinstance(name, VmRef) else parse_vm_ref(name, default_namespace=default) for name in names
        )

    def _selection(self, names: tuple[str | VmRef, ...], options: dict[str, Any]) -> Selection:
        """Takes what says which VMs out of the options."""
        from vmkit.power import Selection

        selector: str = options.pop("selector", "")
        namespace: str | None = options.pop("namespace", None)
        all_namespaces: bool = options.pop("all_namespaces", False)
        everything: bool = options.pop("everything", False)
        if names and (selector or all_namespaces or everything):
            raise UsageError("give names or a selection, not both")
        if not (names or selector or all_namespaces or everything):
            # An empty list of names must never come to mean all of them.
            raise UsageError(
                "no VM is named", hint="give names, a selector, everything=True or all_namespaces=True"
            )
        return Selection(
            names=self._refs(names, namespace),
            label_selector=selector,
            namespace=None if all_namespaces else namespace or self.namespace,
            everything=everything or (all_namespaces and not selector),
        )


def _take_callbacks(options: dict[str, Any]) -> dict[str, Any]:
    taken = {name: options.pop(name, None) for name in ("confirm", "on_outcome", "on_progress")}
    return {name: callback for name, callback in taken.items() if callback is not None}


def _options(kind: type[Options], options: dict[str, Any]) -> Options:
    from vmkit.units import Limit

    limit = options.get("max_changes")
    if isinstance(limit, int):
        options["max_changes"] = Limit(count=limit)
    try:
        return kind(**options)
    except TypeError as error:
        raise UsageError(f"an argument is not known: {error}") from error
