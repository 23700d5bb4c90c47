"""``vmkit install``: manifests of what runs in a cluster."""

from __future__ import annotations

from vmkit.cli.app import App
from vmkit.cli.options import argument, group, option, pass_app
from vmkit.errors import ExitCode, UsageError


@group("install")
def install() -> None:
    """Write the manifests of what runs in a cluster.

    Nothing is applied: read them, keep them in Git, give them to kubectl.
    """


@install.command("schedule")
@argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@option(
    "--controller/--cron",
    "controller",
    default=False,
    env=False,
    help="The controller, which acts to the second, or a job that makes a pass every few minutes (default).",
)
@option(
    "--namespace",
    metavar="NAME",
    default="vmkit",
    show_default=True,
    env=False,
    help="Where it, its account and the switch that suspends it live.",
)
@option("--image", metavar="IMAGE", required=True, help="The image that holds vmkit.")
@option(
    "--every",
    "every_minutes",
    metavar="MINUTES",
    type=int,
    default=None,
    help="How often the job makes a pass; a divisor of 60.  [default: 5]",
)
@option(
    "--service-monitor",
    is_flag=True,
    env=False,
    help="Let a Prometheus operator read the controller's metrics.",
)
@pass_app
def schedule(
    app: App,
    *,
    arguments: tuple[str, ...],
    controller: bool,
    namespace: str,
    image: str,
    every_minutes: int | None,
    service_monitor: bool,
) -> ExitCode:
    """Write the manifests under which schedules run in a cluster.

    An account with the rights it needs and no others, an admission policy that confines it to vmkit's
    annotations and the run strategy, a network policy, and a CronJob or the controller's Deployment: two replicas,
    one of which acts. What follows "--" is given to "vmkit schedule run".

    \b
    vmkit install schedule --image registry.example/vmkit:1.0 -- --max-changes 50%
    vmkit install schedule --image registry.example/vmkit:1.0 --controller --service-monitor
    """
    from vmkit.report.documents import render_yaml_documents
    from vmkit.schedule.install import InstallOptions, build_manifests

    if controller and every_minutes is not None:
        raise UsageError("the controller waits for transitions, not for minutes", hint="leave --every out")
    options = InstallOptions(
        namespace=namespace,
        image=image,
        controller=controller,
        every_minutes=5 if every_minutes is None else every_minutes,
        service_monitor=service_monitor,
        arguments=arguments,
    )
    app.console.data(render_yaml_documents(build_manifests(options)))
    return ExitCode.OK


@install.command("stop-idle")
@argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@option(
    "--namespace",
    metavar="NAME",
    default="vmkit",
    show_default=True,
    env=False,
    help="Where the job, its account, the switch that suspends it and the ledger live.",
)
@option("--image", metavar="IMAGE", required=True, help="The image that holds vmkit.")
@option("--minute", metavar="MINUTE", type=int, default=17, show_default=True, help="Of each hour, to run at.")
@option(
    "--stop/--note-only", default=False, env=False, help="Stop VMs, or only note those that are idle (default)."
)
@option(
    "--everything",
    is_flag=True,
    env=False,
    help="Look at all VMs that are not opted out; by default at those labelled vmkit.io/stop-idle=enabled.",
)
@option(
    "--recording-rules",
    is_flag=True,
    env=False,
    help="Let a Prometheus operator precompute what runs ask for; large fleets need it.",
)
@pass_app
def stop_idle(
    app: App,
    *,
    arguments: tuple[str, ...],
    namespace: str,
    image: str,
    minute: int,
    stop: bool,
    everything: bool,
    recording_rules: bool,
) -> ExitCode:
    """Write the manifests of a job that looks for idle VMs every hour.

    An account with the rights it needs and no others, an admission policy that confines it to vmkit's
    annotations and the run strategy, a network policy, and a CronJob. What follows "--" is given to
    "vmkit stop-idle run".

    \b
    vmkit install stop-idle --image registry.example/vmkit:1.0
    vmkit install stop-idle --image registry.example/vmkit:1.0 --stop -- --notice 48h --max-stops 10
    """
    from vmkit.idle.install import InstallOptions, build_manifests
    from vmkit.report.documents import render_yaml_documents

    options = InstallOptions(namespace, image, minute, stop, everything, recording_rules, arguments)
    app.console.data(render_yaml_documents(build_manifests(options)))
    return ExitCode.OK


@install.command("recording-rules")
@option(
    "--namespace",
    metavar="NAME",
    default="monitoring",
    show_default=True,
    env=False,
    help="Where the PrometheusRule goes.",
)
@option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    multiple=True,
    env=False,
    help="A label of the PrometheusRule, such as its Prometheus selects rules by.",
)
@option("--scrape-interval", metavar="DURATION", default="30s", show_default=True, help="Of virt-handler.")
@option(
    "--exported-labels",
    is_flag=True,
    env=False,
    help="The scraper renames KubeVirt's label namespace to exported_namespace.",
)
@option("--rules-file", is_flag=True, env=False, help="A file for rule_files, not an object for the operator.")
@pass_app
def recording_rules(
    app: App,
    *,
    namespace: str,
    labels: tuple[str, ...],
    scrape_interval: str,
    exported_labels: bool,
    rules_file: bool,
) -> ExitCode:
    """Write recording rules that make judging VMs cheap for Prometheus.

    They record what each VM uses once in five minutes. vmkit uses them by itself once they reach back far
    enough, and asks for the raw series until then.

    \b
    vmkit install recording-rules --label release=kube-prometheus-stack | kubectl apply -f -
    vmkit install recording-rules --rules-file > /etc/prometheus/vmkit.yml
    """
    from vmkit.metrics.prometheus.rules import build_prometheus_rule, build_rules
    from vmkit.report.documents import render_yaml_documents
    from vmkit.units import parse_duration

    chosen = {}
    for label in labels:
        key, given, value = label.partition("=")
        if not key or not given:
            raise UsageError(f"{label!r} is no label", hint="give KEY=VALUE")
        chosen[key] = value
    if rules_file and chosen:
        raise UsageError("a file of rules has no labels", hint="leave --label or --rules-file out")
    interval = parse_duration(scrape_interval)
    namespace_label = "exported_namespace" if exported_labels else "namespace"
    if rules_file:
        document = build_rules(interval=interval, namespace_label=namespace_label)
    else:
        document = build_prometheus_rule(
            namespace, labels=chosen, interval=interval, namespace_label=namespace_label
        )
    app.console.data(render_yaml_documents([document]))
    return ExitCode.OK
