"""Points the plans that schemathesis makes up at containers that there are; most would end at 404 otherwise.

Only a valid name is replaced, so that what makes a plan invalid stays in it.
"""

import copy
import re

import schemathesis

CONTAINERS = ("geo", "rate")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_name(value):
    return isinstance(value, str) and NAME.fullmatch(value) is not None


@schemathesis.hook
def map_body(context, body):
    changes = body.get("changes") if isinstance(body, dict) else None
    if not isinstance(changes, list):
        return body
    body = copy.deepcopy(body)
    for container, change in zip(CONTAINERS, body["changes"]):
        if isinstance(change, dict) and is_name(change.get("container")):
            change["container"] = container
    return body
