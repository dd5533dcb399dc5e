# SPDX-License-Identifier: Apache-2.0
"""Tells Prometheus of the pods to scrape: watches pods and keeps a file for its file_sd_configs.

Debian builds Prometheus without its own Kubernetes discovery. What this does is the same: pods with the annotation
prometheus.io/scrape: "true" are scraped at the port of prometheus.io/port and the path of prometheus.io/path.

usage: pod-targets FILE
"""

import codecs
import json
import os
import select
import subprocess
import sys

QUIET = 0.05  # seconds without an event after which the file is written


def target(pod):
    """Returns the pod's target group, or None if it shall not be scraped."""
    meta, status = pod["metadata"], pod.get("status", {})
    notes = meta.get("annotations", {})
    address, port = status.get("podIP"), notes.get("prometheus.io/port")
    if notes.get("prometheus.io/scrape") != "true" or not address or not port:
        return None
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    return {
        "targets": ["[{}]:{}".format(address, port)],
        "labels": {
            "__metrics_path__": notes.get("prometheus.io/path", "/metrics"),
            "namespace": meta["namespace"],
            "pod": meta["name"],
            "node": pod.get("spec", {}).get("nodeName", ""),
        },
    }


def write(path, groups):
    """Replaces the file at once: Prometheus watches it."""
    with open(path + ".new", "w") as f:
        json.dump(groups, f, indent=1)
    os.rename(path + ".new", path)


def main(path):
    # The watch begins with an event for every pod there is, and ends now and then: then this program is started again.
    watch = subprocess.Popen(
        ["kubectl", "get", "pods", "--all-namespaces", "--watch", "--output-watch-events", "--output=json"],
        stdout=subprocess.PIPE,
    )
    decoder, text = json.JSONDecoder(), ""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    groups, written = {}, None
    while True:
        idle = not select.select([watch.stdout], [], [], QUIET if groups != written else None)[0]
        if idle:
            write(path, [groups[uid] for uid in sorted(groups)])
            written = dict(groups)
            continue
        data = os.read(watch.stdout.fileno(), 1 << 16)
        if not data:
            return watch.wait() or 0
        text = (text + utf8.decode(data)).lstrip()
        while text:
            try:
                event, end = decoder.raw_decode(text)
            except ValueError:
                break  # not all of it has come
            text = text[end:].lstrip()
            uid = event["object"]["metadata"]["uid"]
            group = None if event["type"] == "DELETED" else target(event["object"])
            if group:
                groups[uid] = group
            else:
                groups.pop(uid, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
