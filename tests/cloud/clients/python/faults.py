"""What Hetzner's own Python client makes of faults: each prints one JSON value.

Arguments: which of them. Environment: HCLOUD_ENDPOINT, HCLOUD_TOKEN.
"""

import json
import os
import sys

from hcloud import APIException, Client
from hcloud.actions import ActionException, ActionFailedException, ActionTimeoutException
from hcloud.images import Image
from hcloud.server_types import ServerType


def client(**options):
    return Client(
        token=os.environ["HCLOUD_TOKEN"],
        api_endpoint=os.environ["HCLOUD_ENDPOINT"],
        poll_interval=0.01,
        **options,
    )


def order(cloud, name):
    return cloud.servers.create(name, ServerType(name="cx23"), Image(name="debian-12"))


def slow():
    """An answer that does not come in time: this client then sends the order again."""
    for name in ("before", "after"):
        try:
            order(client(timeout=0.3), name)
            yield "made"
        except APIException as error:
            yield error.code
    yield [server.name for server in client().servers.get_all()]


def hangs():
    """An action that does not end while anybody waits."""
    action = order(client(), "hangs").action
    try:
        action.wait_until_finished(max_retries=10)
        yield "finished"
    except ActionTimeoutException as error:
        yield ["timeout", error.action.status]
    try:
        client().servers.get_by_name("hangs").delete()
    except APIException as error:
        yield error.code


def ended():
    """The action of before ends after all."""
    server = client().servers.get_by_name("hangs")
    action = server.get_actions()[0]
    action.wait_until_finished()
    yield action.status


def fails():
    """An action that fails late."""
    try:
        order(client(), "fails").action.wait_until_finished()
        yield "finished"
    except ActionFailedException as error:
        yield [error.action.error["code"], error.action.command]


def limited():
    """429 once: this client repeats it by itself."""
    yield len(client().servers.get_all())


def refused():
    """Whatever error the next order meets."""
    try:
        order(client(), "refused")
        yield "made"
    except APIException as error:
        yield [error.code, error.message, error.details]
    except ActionException as error:
        yield str(error)


for value in globals()[sys.argv[1]]():
    print(json.dumps(value), flush=True)
