"""What the files of operations share: the client, and the list that each operation enters."""

import os

from hcloud import Client

client = Client(
    token=os.environ["HCLOUD_TOKEN"],
    api_endpoint=os.environ["HCLOUD_ENDPOINT"],
    application_name="operations",
    poll_interval=0.01,
)
operations = []


def operation(title):
    def add(function):
        operations.append((title, function))
        return function

    return add


def done(action):
    action.wait_until_finished()
