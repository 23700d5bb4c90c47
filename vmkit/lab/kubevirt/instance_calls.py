"""The calls on instances: pause, reboot, freeze, what the agent knows, the streams (pkg/virt-api/rest)."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.kubevirt.calls import MachineCalls
from vmkit.lab.kubevirt.conditions import PAUSED_GATE, drop_condition, not_ready, ready, set_condition
from vmkit.lab.kubevirt.guests import build_agent_info, build_filesystems, build_users
from vmkit.lab.kubevirt.instances import InstanceController, paused_condition
from vmkit.lab.kubevirt.power import GROUP, VMI, condition, is_true, phase_of, vm_conflict, vmi_conflict
from vmkit.lab.kubevirt.printable import is_migrating
from vmkit.lab.kubevirt.routes import is_dry_run, read_body
from vmkit.lab.kubevirt.world import VIRT_HANDLER, World
from vmkit.lab.resources import Response, SubresourceRequest
from vmkit.lab.status import ApiError, bad_request, forbidden, internal_error, not_found_named

Object = dict[str, Any]

_OK: Final = Response(200)
_TEXT: Final = "text/plain; charset=utf-8"
_NO_AGENT: Final = "VMI does not have guest agent connected"


class InstanceCalls:
    """Answers the calls on virtualmachineinstances.

    Args:
        world: what KubeVirt's parts share.
        machines: the calls on VMs, for looking up.
        instances: the controller that knows the guests.
    """

    def __init__(self, world: World, machines: MachineCalls, instances: InstanceController) -> None:
        self._world = world
        self._machines = machines
        self._instances = instances

    def _get(self, request: SubresourceRequest) -> Object:
        return self._machines.get_vmi(request.namespace, request.name)

    def _save(self, vmi: Object) -> Response:
        self._world.save_instance(vmi, manager=VIRT_HANDLER)
        return _OK

    # --- pausing ---------------------------------------------------------------------------------------------

    def pause(self, request: SubresourceRequest) -> Response:
        """PUT .../pause."""
        body = read_body(request, dryRun=list)
        vmi = self._get(request)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VM is not running")
        probe = vmi["spec"].get("livenessProbe")
        if probe is not None and "guestAgentPing" not in probe:
            raise forbidden(
                GROUP,
                VMI,
                request.name,
                "Pausing VMIs with a non-GuestAgentPing LivenessProbe is not supported",
            )
        if condition(vmi, "Paused") is not None:
            raise vmi_conflict(request.name, "VMI is already paused")
        if is_migrating(vmi):
            raise vmi_conflict(
                request.name, f"Cannot pause VM '{request.name}' because it is currently being migrated"
            )
        if is_dry_run(body):
            return _OK
        at = self._world.now()
        set_condition(vmi["status"], paused_condition(at))
        set_condition(vmi["status"], not_ready(PAUSED_GATE, at))
        return self._save(vmi)

    def unpause(self, request: SubresourceRequest) -> Response:
        """PUT .../unpause."""
        vm = self._world.store.find(self._world.types.vm, request.namespace, request.name)
        if vm is not None and (vm.get("status") or {}).get("snapshotInProgress"):
            raise vm_conflict(request.name, "VM snapshot is in progress")
        body = read_body(request, dryRun=list)
        vmi = self._get(request)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VMI is not running")
        if condition(vmi, "Paused") is None:
            raise vmi_conflict(request.name, "VMI is not paused")
        if is_dry_run(body):
            return _OK
        drop_condition(vmi["status"], "Paused")
        set_condition(vmi["status"], ready(self._world.now()))
        return self._save(vmi)

    # --- rebooting -------------------------------------------------------------------------------------------

    def soft_reboot(self, request: SubresourceRequest) -> Response:
        """PUT .../softreboot: asks the guest to reboot."""
        vmi = self._get(request)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VM is not running")
        if is_true(vmi, "Paused"):
            raise vmi_conflict(request.name, "VMI is paused")
        acpi = (vmi["spec"]["domain"].get("features") or {}).get("acpi") or {}
        if condition(vmi, "AgentConnected") is None and acpi.get("enabled") is False:
            raise vmi_conflict(request.name, "VMI neither have the agent connected nor the ACPI feature enabled")
        self._instances.rebooted(vmi)
        return _OK

    def reset(self, request: SubresourceRequest) -> Response:
        """PUT .../reset: the reset button."""
        vmi = self._get(request)
        phase = phase_of(vmi)
        if phase != "Running":
            raise internal_error(
                f"Failed to reset non-running VMI with phase {phase}: Unable to connect to VirtualMachineInstance "
                f"because phase is {phase} instead of Running"
            )
        self._instances.rebooted(vmi)
        return _OK

    # --- freezing --------------------------------------------------------------------------------------------

    def freeze(self, request: SubresourceRequest) -> Response:
        """PUT .../freeze: the guest's file systems stand still until thawed, or until the time given is over."""
        body = read_body(request, unfreezeTimeout=(str, int))
        vmi = self._get(request)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VM is not running")
        if condition(vmi, "AgentConnected") is None:
            raise internal_error("Failed to freeze VMI: guest agent is not connected")
        vmi["status"]["fsFreezeStatus"] = "frozen"
        self._save(vmi)
        seconds = _seconds(body.get("unfreezeTimeout"))
        if seconds:
            uid, namespace, name = vmi["metadata"]["uid"], request.namespace, request.name
            self._world.clock.call_later(seconds, lambda: self._thaw(namespace, name, uid))
        return _OK

    def unfreeze(self, request: SubresourceRequest) -> Response:
        """PUT .../unfreeze."""
        vmi = self._get(request)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VMI is not running")
        self._thaw(request.namespace, request.name, vmi["metadata"]["uid"])
        return _OK

    def _thaw(self, namespace: str, name: str, uid: str) -> None:
        vmi = self._machines.find_vmi(namespace, name)
        if vmi is None or vmi["metadata"]["uid"] != uid:
            return
        if (vmi.get("status") or {}).pop("fsFreezeStatus", None) is not None:
            self._save(vmi)

    # --- the guest agent -------------------------------------------------------------------------------------

    def guest_os_info(self, request: SubresourceRequest) -> Response:
        """GET .../guestosinfo."""
        vmi = self._with_agent(request)
        if isinstance(vmi, Response):
            return vmi
        guest = self._instances.guest(vmi)
        return Response(200, build_agent_info(guest, vmi, at=self._world.clock.now().timestamp()))

    def user_list(self, request: SubresourceRequest) -> Response:
        """GET .../userlist: who is logged in."""
        vmi = self._with_agent(request)
        if isinstance(vmi, Response):
            return vmi
        users = build_users(self._instances.guest(vmi), vmi, at=self._world.clock.now().timestamp())
        return Response(200, _agent_list("VirtualMachineInstanceGuestOSUserList", users))

    def filesystem_list(self, request: SubresourceRequest) -> Response:
        """GET .../filesystemlist."""
        vmi = self._with_agent(request)
        if isinstance(vmi, Response):
            return vmi
        return Response(
            200,
            _agent_list(
                "VirtualMachineInstanceFileSystemList", build_filesystems(self._instances.guest(vmi), vmi)
            ),
        )

    def _with_agent(self, request: SubresourceRequest) -> Object | Response:
        """The instance; what speaks against asking its agent becomes a 500 with a text (httpGetRequestHandler)."""
        try:
            vmi = self._get(request)
        except ApiError as error:
            return Response(500, error.message, _TEXT)
        why = ""
        if phase_of(vmi) != "Running":
            why = "VMI is not running"
        elif condition(vmi, "AgentConnected") is None:
            why = _NO_AGENT
        if why:
            return Response(500, vmi_conflict(request.name, why).message, _TEXT)
        return vmi

    # --- streams ---------------------------------------------------------------------------------------------

    def stream(self, request: SubresourceRequest) -> Response:
        """GET of a console, VNC, port forward and the like: there is nothing behind them here."""
        vmi = self._machines.find_vmi(request.namespace, request.name)
        if vmi is None:
            raise not_found_named(GROUP, VMI, request.name)
        if phase_of(vmi) != "Running":
            raise vmi_conflict(request.name, "VMI is not running")
        if request.subresource.startswith("portforward") and condition(vmi, "Paused") is not None:
            raise vmi_conflict(request.name, "VMI is paused")
        raise bad_request(
            f"the practice cluster has no machine behind {request.subresource.split('/')[0]}; "
            "nothing can be streamed"
        )

    def unsupported(self, request: SubresourceRequest) -> Response:
        """What needs hardware or data that guests here do not have."""
        self._get(request)
        raise bad_request(f"{request.subresource} is not supported by the practice cluster")


def _agent_list(kind: str, items: list[Object]) -> Object:
    return {"apiVersion": "kubevirt.io/v1", "kind": kind, "items": items, "metadata": {}}


def _seconds(value: object) -> float:
    """A Go duration ("5m0s") or nanoseconds, in seconds; 0 for what cannot be read."""
    if isinstance(value, int):
        return value / 1e9
    total, number = 0.0, ""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    for letter in value if isinstance(value, str) else "":
        if letter.isdigit() or letter == ".":
            number += letter
        elif letter in units and number.replace(".", "", 1).isdigit():
            total += float(number) * units[letter]
            number = ""
        else:
            return 0.0
    return total
