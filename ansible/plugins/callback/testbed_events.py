# SPDX-License-Identifier: Apache-2.0
"""Writes what happens in a playbook run as lines of JSON, for the program that started it.

Each line is an object with "event": play, task, result or stats. A result has "host", "task", "role", "status"
(ok, changed, skipped, failed or unreachable) and, when it failed, "message".
"""

import json
import sys

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: testbed_events
    type: stdout
    short_description: run events as lines of JSON
    description:
      - What happens in a run, one JSON object a line, on standard output.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "testbed_events"

    def _write(self, **event):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    def v2_playbook_on_play_start(self, play):
        self._write(event="play", name=play.get_name())

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._write(event="task", task=task.get_name().split(" : ")[-1], role=self._role(task))

    @staticmethod
    def _role(task):
        return task._role.get_name() if task._role else ""

    def _result(self, result, status):
        event = {
            "event": "result",
            "host": result._host.get_name(),
            "task": result._task.get_name().split(" : ")[-1],
            "role": self._role(result._task),
            "status": status,
        }
        if status in ("failed", "unreachable"):
            event["message"] = self._message(result._result)
        self._write(**event)

    def _message(self, result):
        """Gathers what an operator needs: the module's message, and what a program that it ran complained of."""
        for item in result.get("results", []):
            if item.get("failed"):
                label = item.get("_ansible_item_label") or item.get("item")
                return "{}: {}".format(label, self._message(item))
        parts = [result.get("msg"), result.get("stderr"), result.get("module_stderr"), result.get("exception")]
        return "\n".join(str(p).strip() for p in parts if p) or json.dumps(result, default=str)

    def v2_runner_on_ok(self, result):
        self._result(result, "changed" if result.is_changed() else "ok")

    def v2_runner_on_skipped(self, result):
        self._result(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._result(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result):
        self._result(result, "unreachable")

    def v2_playbook_on_stats(self, stats):
        self._write(event="stats", hosts={host: stats.summarize(host) for host in sorted(stats.processed)})
