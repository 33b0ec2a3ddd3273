"""The ExtendedResourceToleration admission plugin: who asks for a device tolerates the taint named after it."""

from __future__ import annotations

from cockpit.sim.controllers.machines import DEVICES
from cockpit.sim.controllers.objects import Object
from cockpit.sim.controllers.pods import pod_requests


def tolerate_extended_resources(verb: str, pod: Object, old: Object | None) -> Object | None:
    """Add `key: <resource>, operator: Exists` for every device a new pod requests."""
    if verb != "CREATE":
        return None
    wanted = pod_requests(pod["spec"])
    held = {one.get("key") for one in pod["spec"].get("tolerations") or []}
    more = [{"key": one, "operator": "Exists"} for one in DEVICES if wanted.get(one) and one not in held]
    if not more:
        return None
    return {**pod, "spec": {**pod["spec"], "tolerations": [*(pod["spec"].get("tolerations") or []), *more]}}
