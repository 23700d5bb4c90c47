"""What a change of a VM's template means for its running instance: carried over, or waiting for a restart."""

from __future__ import annotations

import copy
from typing import Any

from vmkit.lab.kubevirt.conditions import drop_condition, set_condition
from vmkit.lab.kubevirt.hotplug import carry_volumes, follow_memory_dump
from vmkit.lab.kubevirt.instancetypes.expansion import apply
from vmkit.lab.kubevirt.liveupdate import RESTART_MESSAGE, apply_live, beyond_reach, needs_restart
from vmkit.lab.kubevirt.power import is_final, is_true
from vmkit.lab.kubevirt.revisions import revision_spec
from vmkit.lab.kubevirt.world import (
    GENERATION,
    World,
)
from vmkit.lab.status import ApiError

Object = dict[str, Any]


def follow_template(world: World, vm: Object, vmi: Object) -> Object:
    """Carries a VM's changes into its running instance, or says in the VM's status that they need a restart.

    Returns:
        The instance as it is now.
    """
    follow_memory_dump(world, vm, vmi)
    generation = str(vm["metadata"].get("generation", 1))
    annotations = vmi["metadata"].setdefault("annotations", {})
    if is_final(vmi) or "deletionTimestamp" in vmi["metadata"] or annotations.get(GENERATION) == generation:
        return vmi
    started = revision_spec(
        world,
        vm["metadata"]["namespace"],
        (vmi.get("status") or {}).get("virtualMachineRevisionName", ""),
    )
    if started is None:
        return vmi
    changed = carry_volumes(vmi, vm["spec"])
    if started.get("template") == vm["spec"].get("template"):
        drop_condition(vm["status"], "RestartRequired")
        annotations[GENERATION] = generation
        return world.save_instance(vmi)
    expanded_before, expanded_now = (_expanded(world, vm, each) for each in (started, vm["spec"]))
    live = world.configuration.live_update
    if live:
        changed += apply_live(vmi, expanded_now)
    if changed:
        vmi = world.save_instance(vmi)
    restart = needs_restart(expanded_before, expanded_now, live_update=live) or (
        live and beyond_reach(vmi, expanded_now)
    )
    if restart and not is_true(vm, "RestartRequired"):
        set_condition(
            vm["status"],
            {
                "lastProbeTime": None,
                "lastTransitionTime": world.now(),
                "message": RESTART_MESSAGE,
                "status": "True",
                "type": "RestartRequired",
            },
        )
    elif not restart:
        drop_condition(vm["status"], "RestartRequired")
    return vmi


def _expanded(world: World, vm: Object, spec: Object) -> Object:
    """A VM spec with its instance type and preference applied to the template."""
    expanded: Object = copy.deepcopy(spec)
    subject = {"metadata": vm["metadata"], "spec": expanded, "status": vm.get("status") or {}}
    try:
        found = [world.finder.find_spec(subject, matcher) for matcher in ("instancetype", "preference")]
    except ApiError:
        return expanded
    if any(each is not None for each in found):
        template = expanded.setdefault("template", {})
        apply(template.setdefault("spec", {}), found[0], found[1], field="spec.template.spec")
    return expanded
