# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain Debian server in a folder: its files are real, its commands answer from a small state.

What the commands answer was taken from Debian 12 and 13. ssh-keygen runs for real.
"""

from __future__ import annotations

import json
import os
import re
import subprocess

from ansible_collections.gantry.cluster.plugins.module_utils import tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor, Result, read_text
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import prepare as preparation
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import Files

DRBD_COMMON = "global {\n\tusage-count no;\n\tudev-always-use-vnr; # as explicit volumes\n}\ncommon {\n}\n"

FILES = {
    "etc/drbd.conf": '# example\ninclude "drbd.d/global_common.conf";\ninclude "drbd.d/*.res";\n',
    "etc/drbd.d/global_common.conf": DRBD_COMMON,
    "etc/lvm/lvm.conf": 'devices {\n\t# global_filter = [ "a|.*|" ]\n}\n',
    "etc/lvm/lvmlocal.conf": 'local {\n\t# system_id = ""\n}\n',
    "etc/default/libvirt-guests": "# ON_BOOT=ignore\n#ON_SHUTDOWN=shutdown\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\tnode1\n",
    "etc/ssh/ssh_config": "Include /etc/ssh/ssh_config.d/*.conf\n",
    "etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 "
    "AAAAC3NzaC1lZDI1NTE5AAAAIJrdLUX6TgAz5O60QRCwOsZPFCQy56+NaDI/zy6wBQsp root@node1\n",
    "usr/bin/virsh": "",
    "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so": "",
    "usr/lib/klibc-XX6cASCB7KZyJWpIJW79y94XHBY.so": "",
    "usr/bin/virt-ssh-helper": "",
    "usr/sbin/drbdadm": "",
    "run/systemd/system/.keep": "",
    "etc/modprobe.d/.keep": "",
    "etc/modules-load.d/.keep": "",
}


class Binding:
    """What is used of the module libvirt."""

    @staticmethod
    def getVersion():  # noqa: N802
        """As libvirt 9.0.0."""
        return 9000000


class Server:
    """The state behind the commands; ``root`` holds the files."""

    def __init__(self, root):
        self.root = str(root)
        for path, text in FILES.items():
            self.write(path, text)
        self.units = {
            "libvirtd.service": ["loaded", "active", "enabled"],
            "libvirtd.socket": ["loaded", "active", "enabled"],
            "libvirt-guests.service": ["loaded", "active", "enabled"],
            "drbd.service": ["loaded", "inactive", "disabled"],
        }
        self.groups = {"gantry": ["/dev/vdb"]}
        self.guest_groups = {}  # volume groups inside guests' disks: {name: [device]}
        self.active = {}  # {volume group: [volumes]}
        self.addresses = ["10.0.2.15", "10.77.0.11"]
        self.accounts = {}
        self.group_members = []
        self.module = "8.4.11"  # None: the kernel has none
        self.modprobe = Result(0, "", "")
        self.autostart = []
        self.virsh = None  # an answer instead of the usual one
        self.multipath = ""
        self.sshd = "pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n"
        self.conffiles = " /etc/drbd.conf 6fd1c1c463d9066ae87283fc3cbf7093\n"
        self.hostname = "node1"
        self.restarts = []  # (unit, whether the hook was there)
        self.lvm_overruled = None  # a filter that another file enforces

    def path(self, path):
        """A file of this server."""
        return os.path.join(self.root, path.lstrip("/"))

    def write(self, path, text):
        """Put a file there."""
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as stream:
            stream.write(text)

    def text(self, path):
        """A file's text."""
        with open(self.path(path), encoding="utf-8") as stream:
            return stream.read()

    def snapshot(self):
        """Everything that could change: files with modes, units, accounts."""
        files = {}
        for folder, unused, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as stream:
                    files[path] = (os.stat(path).st_mode, stream.read())
            files[folder] = os.stat(folder).st_mode
        return files, json.dumps([self.units, self.accounts, self.group_members, self.autostart])

    def load_module(self, helper, minor_count="128"):
        """As the kernel shows a loaded module."""
        self.write("sys/module/drbd/version", self.module + "\n")
        self.write("sys/module/drbd/parameters/usermode_helper", helper + "\n")
        self.write("sys/module/drbd/parameters/minor_count", minor_count + "\n")

    def answer(self, argv, stdin):
        """What a command does and says."""
        words = list(argv)
        environment = {}
        if words[0] == "env":
            words.pop(0)
            while "=" in words[0]:
                key, unused, value = words.pop(0).partition("=")
                environment[key] = value
        if words[0] == "timeout":
            words = words[2:]
        handler = getattr(self, "do_" + words[0].replace("-", "_"))
        return handler(words[1:], environment)

    # LVM

    def lvm_filter(self, environment=None):
        """The filter in force: lvmlocal.conf wins over lvm.conf, and in a file the last one."""
        folder, patterns = (environment or {}).get("LVM_SYSTEM_DIR", self.path("etc/lvm")), []
        for name in ("lvm.conf", "lvmlocal.conf"):
            path = os.path.join(folder, name)
            found = re.findall(r"global_filter\s*=\s*(.*)", texts.without_comments(read_text(path) or ""))
            if found:
                patterns = re.findall(r'"([^"]*)"', found[-1])
        return self.lvm_overruled or patterns

    def do_lvmconfig(self, words, environment):
        """The filter; a list of one is shown as a string."""
        patterns = self.lvm_filter(environment)
        if not patterns and "full" not in words:
            return Result(5, "", "  Configuration node devices/global_filter not found\n")
        patterns = patterns or ["a|.*|"]
        shown = ",".join('"%s"' % pattern for pattern in patterns)
        return Result(0, "global_filter=%s\n" % (shown if len(patterns) == 1 else "[%s]" % shown), "")

    def do_vgs(self, words, environment):
        """The volume groups on devices that the filter lets in."""
        patterns, rows = self.lvm_filter(environment), []
        for name, devices in list(self.groups.items()) + list(self.guest_groups.items()):
            seen = [device for device in devices if texts.lvm_admits(patterns, [device])]
            for device in seen:
                rows.append(
                    {
                        "vg_name": name,
                        "vg_size": "2044.00",
                        "vg_free": "2000.00",
                        "pv_name": device,
                        "vg_missing_pv_count": str(len(devices) - len(seen)),
                    }
                )
        return Result(0, json.dumps({"report": [{"vg": rows}], "log": []}), "")

    def do_lvs(self, words, environment):
        """Active volumes of a volume group."""
        return Result(0, "".join("  %s\n" % name for name in self.active.get(words[-1], [])), "")

    def do_lvm(self, words, environment):
        """The version."""
        return Result(0, "  LVM version:     2.03.16(2) (2022-05-18)\n  Library version: 1.02.185 (2022-05-18)\n", "")

    # systemd

    def do_systemctl(self, words, environment):
        """show, enable, disable, mask, start, daemon-reload."""
        verb, names = words[0], [word for word in words[1:] if not word.startswith("--")]
        if verb == "show":
            blocks = []
            for name in names:
                load, active, state = self.units.get(name, ["not-found", "inactive", ""])
                blocks.append("Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\n" % (name, load, active, state))
            return Result(0, "\n".join(blocks), "")
        for name in names:
            if name == texts.STOP_UNIT_NAME and os.path.exists(self.path(texts.STOP_UNIT)):
                self.units.setdefault(name, ["loaded", "inactive", "disabled"])
            unit = self.units[name]
            if verb in ("enable", "disable"):
                unit[2] = verb + "d"
            if verb == "mask":
                unit[0] = unit[2] = "masked"
            if verb == "try-restart" and unit[1] == "active":
                self.restarts.append((name, os.path.exists(self.path(tpm_hook.PATH))))
            if verb == "start" or "--now" in words:
                unit[1] = "active"
        return Result(0, "", "")

    # DRBD and the kernel

    def do_drbdadm(self, words, environment):
        """The versions."""
        return Result(0, "DRBDADM_API_VERSION=1\nDRBDADM_VERSION_CODE=0x091600\nDRBDADM_VERSION=9.22.0\n", "")

    def do_modinfo(self, words, environment):
        """The version of the module."""
        if self.module is None:
            return Result(1, "", "modinfo: ERROR: Module drbd not found.\n")
        return Result(0, self.module + "\n", "")

    def do_modprobe(self, words, environment):
        """Load the module."""
        if self.modprobe.rc == 0:
            parameters = dict(word.split("=") for word in words[1:])
            self.load_module(parameters["usermode_helper"], parameters.get("minor_count", "128"))
        return self.modprobe

    def do_dpkg_query(self, words, environment):
        """The package's configuration files."""
        return Result(0, self.conffiles, "")

    def do_multipath(self, words, environment):
        """The configuration in force."""
        return Result(0, self.multipath, "")

    # accounts, addresses

    def do_getent(self, words, environment):
        """passwd and group."""
        if words[0] == "passwd":
            if words[1] not in self.accounts:
                return Result(2, "", "")
            return Result(0, ":".join([words[1], "x"] + self.accounts[words[1]]) + "\n", "")
        return Result(0, "libvirt:x:108:%s\n" % ",".join(self.group_members), "")

    def do_useradd(self, words, environment):
        """A new account."""
        value = dict(zip(words, words[1:]))
        self.accounts[words[-1]] = ["999", "999", value["--comment"], value["--home-dir"], value["--shell"]]
        self.group_members.append(words[-1])
        return Result(0, "", "")

    def do_usermod(self, words, environment):
        """Its shell or groups."""
        if "--shell" in words:
            self.accounts[words[-1]][4] = words[1]
        else:
            self.group_members.append(words[-1])
        return Result(0, "", "")

    def do_ip(self, words, environment):
        """The addresses."""
        links = [
            {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}, {"local": "::1"}]},
            {"ifname": "eth9", "addr_info": [{}]},
        ]
        for number, address in enumerate(self.addresses):
            links.append({"ifname": "eth%d" % number, "addr_info": [{"family": "inet", "local": address}]})
        return Result(0, json.dumps(links), "")

    # libvirt, SSH

    def do_virsh(self, words, environment):
        """Autostarted domains, and switching one off."""
        if self.virsh is not None:
            return self.virsh
        if "--disable" in words:
            self.autostart.remove(words[-1])
            return Result(0, "", "")
        return Result(0, "".join("%s\n" % uuid for uuid in self.autostart) + "\n", "")

    def do_ssh_keygen(self, words, environment):
        """The real one."""
        done = subprocess.run(
            ["ssh-keygen"] + words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def do_ssh(self, words, environment):
        """The client's settings."""
        if os.path.exists(self.path(texts.SSH_CONFIG)):
            return Result(0, "user gantry-migrate\nuserknownhostsfile %s\n" % texts.KNOWN_HOSTS, "")
        return Result(0, "userknownhostsfile /root/.ssh/known_hosts /root/.ssh/known_hosts2\n", "")

    def do_sshd(self, words, environment):
        """The server's settings."""
        return Result(0, self.sshd, "")


class Commands(Executor):
    """The executor, with a server instead of this machine behind its commands."""

    def __init__(self, server, check_mode=False):
        super().__init__(check_mode=check_mode)
        self.server = server
        self.ran = []

    def _run(self, argv, ok, stdin):
        self.ran.append(argv)
        result = self.server.answer(argv, stdin)
        if ok is not None and result.rc not in ok:
            raise GantryError("The command '%s' failed" % " ".join(argv), found=result.err, code="command_failed")
        return result


def options(**changed):
    """The module's parameters with their defaults."""
    base = {
        "name": "node1",
        "address": "10.77.0.11",
        "vg": "gantry",
        "vg_min_size_mib": 0,
        "migration_user": "gantry-migrate",
        "lvm_reject": [],
        "drbd_minor_count": None,
        "shutdown_timeout": 120,
        "peers": None,
    }
    return dict(base, **changed)


def prepare(server, check_mode=False, binding=Binding, uid=0, **changed):
    """Run the whole on a server; returns (result, executor)."""
    executor = Commands(server, check_mode)
    result = preparation.prepare(executor, options(**changed), Files(server.root), binding, uid)
    return result, executor
