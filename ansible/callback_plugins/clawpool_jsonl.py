"""Prints what happens in a play as JSON lines, for pool/ansible. Results of tasks with no_log come censored from
Ansible itself; of the others only the message of a failure is printed, never arguments or return values."""

from __future__ import annotations

import json
import time

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: clawpool_jsonl
type: stdout
short_description: one JSON object a line
description: Events task, result and end of one play on one host.
"""

#: A module that died prints pages; the last lines say why.
MESSAGE_LIMIT = 2000


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "clawpool_jsonl"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._started = {}

    def _print(self, **event):
        event["at"] = round(time.time() * 1000)
        self._display.display(json.dumps(event, default=str))

    def _result(self, result, status):
        task = result.task
        event = {"event": "result", "task": task.get_name().strip(), "status": status}
        event["seconds"] = round(time.time() - self._started.get(task._uuid, time.time()), 3)
        if status in ("failed", "unreachable", "ignored"):
            event["message"] = failure_text(result.result)
        self._print(**event)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._started[task._uuid] = time.time()
        self._print(event="task", task=task.get_name().strip())

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result):
        self._result(result, "changed" if result.result.get("changed") else "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result):
        self._result(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self._result(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._print(event="end", hosts=hosts, custom=stats.custom.get("_run", {}))


def failure_text(result):
    """What a person needs to see of a failed result: msg, and the end of what the command printed."""
    if "censored" in result:
        return str(result["censored"])
    parts = [result.get("msg"), result.get("stderr") or result.get("module_stderr"), result.get("stdout")]
    for item in result.get("results", []):
        if item.get("failed"):
            parts.append(failure_text(item))
    text = "\n".join(str(part).strip() for part in parts if part)
    return text[-MESSAGE_LIMIT:]
