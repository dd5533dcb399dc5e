# SPDX-License-Identifier: Apache-2.0
"""Ansible module: files and the units that read them, in one round trip."""

DOCUMENTATION = """
module: configured
short_description: Writes files and runs the systemd units that read them
description:
  - Writes all files of a service that are not as they shall be, makes links, enables and starts its units, and restarts
    them if a file or link was changed. One execution does what would take the modules template, file and systemd one for
    each thing, and a round trip is what costs on many small nodes.
  - On a system that is not booted, as an image in the making, units are enabled and nothing is started.
options:
  files:
    description:
      - "Each has path, content, and as one likes mode (default 0644) and group (default root). Missing parents are made, 0755."
    type: list
    elements: dict
    default: []
  links:
    description: Each has path and target.
    type: list
    elements: dict
    default: []
  units:
    description: Units to enable and start, in this order.
    type: list
    elements: str
    default: []
  restart:
    description: Whether something else that the units read was changed.
    type: bool
    default: false
  wait:
    description: Whether to wait until the units have started.
    type: bool
    default: true
"""

import grp
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule


def write(module, path, content, mode="0644", group="root"):
    """Makes the file what it shall be, whole or not at all; says whether it was otherwise."""
    data, bits, gid = content.encode(), int(mode, 8), grp.getgrnam(group).gr_gid
    try:
        have = os.lstat(path)
        with open(path, "rb") as f:
            same = f.read() == data and have.st_mode & 0o7777 == bits and (have.st_uid, have.st_gid) == (0, gid)
        if same and not os.path.islink(path):
            return False
    except FileNotFoundError:
        pass
    if module.check_mode:
        return True
    parent = os.path.dirname(path)
    os.makedirs(parent, mode=0o755, exist_ok=True)
    fd, tmp = tempfile.mkstemp(dir=parent, prefix=".configured-")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            os.fchown(f.fileno(), 0, gid)
            os.fchmod(f.fileno(), bits)
        os.rename(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise
    return True


def link(module, path, target):
    """Makes the link, in place of whatever file is there; says whether it was otherwise."""
    if os.path.islink(path) and os.readlink(path) == target:
        return False
    if not module.check_mode:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        tmp = path + ".configured"
        if os.path.lexists(tmp):
            os.unlink(tmp)
        os.symlink(target, tmp)
        os.rename(tmp, path)
    return True


def run(module, *args):
    code, out, err = module.run_command(["systemctl", *args])
    return code, (out + err).strip()


def booted():
    """Whether systemd runs here (sd_booted(3)). Where it does not, in an image that is being made, units are only enabled."""
    return os.path.isdir("/run/systemd/system")


def start(module, units, changed, wait):
    """Enables and starts the units; says whether that changed anything."""
    if changed and booted() and not module.check_mode:
        code, text = run(module, "daemon-reload")
        if code:
            module.fail_json(msg="systemctl daemon-reload: " + text)
    enabled = run(module, "is-enabled", *units)[1].split("\n")
    missing = [u for u, state in zip(units, enabled) if state not in ("enabled", "static", "alias")]
    idle = []
    if booted():
        active = run(module, "is-active", *units)[1].split("\n")
        idle = [u for u, state in zip(units, active) if state not in ("active", "activating")]
    if module.check_mode:
        return bool(missing or idle or changed)
    if missing:
        code, text = run(module, "enable", "--quiet", *missing)
        if code:
            module.fail_json(msg="systemctl enable {}: {}".format(" ".join(missing), text))
    todo = units if changed and booted() else idle
    if todo:
        code, text = run(module, "restart", *([] if wait else ["--no-block"]), *todo)
        if code:
            module.fail_json(msg="{}\n{}".format(text, complaint(module, todo)))
    return bool(missing or todo)


def complaint(module, units):
    """What the units that failed said last."""
    lines = []
    for unit in units:
        if run(module, "is-failed", unit)[0] == 0 or run(module, "is-active", unit)[0]:
            args = ["journalctl", "--unit", unit, "--lines", "8", "--no-pager", "--output", "cat"]
            lines.append("{} says:\n{}".format(unit, module.run_command(args)[1].strip()))
    return "\n".join(lines)


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "default": []},
            "links": {"type": "list", "elements": "dict", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "restart": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        written = [f["path"] for f in p["files"] if write(module, **f)]
        written += [x["path"] for x in p["links"] if link(module, **x)]
    except (OSError, KeyError, TypeError) as e:
        module.fail_json(msg="{}: {}".format(type(e).__name__, e))
    changed = bool(written) or p["restart"]
    started = start(module, p["units"], changed, p["wait"]) if p["units"] else False
    module.exit_json(changed=bool(written) or started, written=written)


if __name__ == "__main__":
    main()
