"""Operations of Hetzner's own Python client, one after the other on one project.

Prints a JSON line for each: its title, and what went wrong or null. Each function is one operation and asserts what
it brought about, as far as the client shows it.

Environment: HCLOUD_ENDPOINT, HCLOUD_TOKEN, PUBLIC_KEY (an OpenSSH public key).
"""

import json
import traceback
from types import SimpleNamespace

# In this order: each import enters its operations.
import surroundings  # noqa: F401 isort: skip
import servers  # noqa: F401 isort: skip
import attachments  # noqa: F401 isort: skip
from operation import operations


def main():
    state = SimpleNamespace()
    for title, function in operations:
        problem = None
        try:
            function(state)
        except Exception as error:  # any failure is a result
            frame = traceback.extract_tb(error.__traceback__)[1]
            problem = f"{type(error).__name__}: {error} (line {frame.lineno}: {frame.line})"
        print(json.dumps({"title": title, "problem": problem}), flush=True)


main()
