"""DeleteOptions, which come in a request's body, in its query, or half in each."""

from __future__ import annotations

from typing import Any, Final

from vmkit.lab.semantics.decoding import JSON, PROTOBUF, YAML, DecodeFailed, parse_body, unsupported_media
from vmkit.lab.semantics.objectmeta import invalid_value
from vmkit.lab.status import Cause, bad_request, invalid
from vmkit.lab.verbs.call import Call, unsupported_value

_PROPAGATION: Final = ("Foreground", "Background", "Orphan", "nil")


def read_delete_options(call: Call) -> dict[str, Any]:
    """DeleteOptions from body and query.

    Raises:
        ApiError: 400 or 422.
    """
    options: dict[str, Any] = {}
    if call.body.strip():
        media = call.content_type.split(";")[0].strip().lower()
        if media not in ("", JSON, YAML, PROTOBUF):
            raise unsupported_media("application/json, application/yaml, application/vnd.kubernetes.protobuf")
        try:
            parsed = parse_body(call.body, media)
        except DecodeFailed as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
        if not isinstance(parsed, dict):
            raise bad_request("couldn't get version/kind; json parse error: cannot unmarshal into DeleteOptions")
        kind = parsed.get("kind") or "DeleteOptions"
        if kind != "DeleteOptions":
            raise bad_request(f"decoded object cannot be converted to DeleteOptions: it is a {kind}")
        options = parsed
    query = call.query
    if "propagationPolicy" in query:
        options.setdefault("propagationPolicy", query["propagationPolicy"])
    if "gracePeriodSeconds" in query and "gracePeriodSeconds" not in options:
        try:
            options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
        except ValueError as error:
            text = query["gracePeriodSeconds"]
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
    causes: list[Cause] = []
    policy = options.get("propagationPolicy")
    if options.get("orphanDependents") is not None:
        if policy is not None:
            message = "orphanDependents and deletionPropagation cannot be both set"
            causes.append(invalid_value("propagationPolicy", policy, message))
        policy = options["propagationPolicy"] = "Orphan" if options["orphanDependents"] else "Background"
    if policy is not None and policy not in _PROPAGATION[:3]:
        causes.append(unsupported_value("propagationPolicy", policy, _PROPAGATION))
    dry_run = options.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
    if any(each != "All" for each in dry_run):
        causes.append(unsupported_value("dryRun", dry_run, ("All",)))
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise bad_request(
            "json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
        )
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
    return options
