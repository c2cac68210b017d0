# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes in memory: LVM and DRBD 8.4 as far as the storage code speaks to them, behind the real executor's methods.

What it answers follows what two real nodes showed (see ../drbd/data). Contents are tracked, so that a test can say
what became of an instance's data. A node can be killed before or after any of its changes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os

from ansible_collections.gantry.cluster.plugins.module_utils import generation
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper, parse, resource_file
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Executor, Result, read_text
from ansible_collections.gantry.cluster.plugins.module_utils.storage import base
from ansible_collections.gantry.cluster.plugins.module_utils.storage import drbd as storage_drbd

UUID = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
SECRETS = {"0": "00112233445566778899aabbccddeeff", "1": "ffeeddccbbaa99887766554433221100"}
EXTENT = 4
BLANK = "blank"


def drbd_disk(index=0, size_mib=201):
    """A DRBD disk of the record on node1 and node2."""
    return {
        "index": index,
        "name": "web1.example.com-disk%d" % index,
        "template": "drbd",
        "size_mib": size_mib,
        "vg": "gantry",
        "port": 11000 + index,
        "nodes": {
            "node%d" % number: {"hostname": "node%d" % number, "address": "10.0.0.%d" % number, "minor": 10 + index}
            for number in (1, 2)
        },
    }


def plain_disk(index=0, size_mib=201):
    """A plain disk of the record on node1."""
    return {
        "index": index,
        "name": "web1.example.com-disk%d" % index,
        "template": "plain",
        "size_mib": size_mib,
        "vg": "gantry",
        "port": None,
        "nodes": {"node1": {"hostname": "node1"}},
    }


class Killed(BaseException):
    """The module's process died; no handler of the code under test may see it as an error."""


class Cluster:
    """Two nodes, a link between them, and a switch for it."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.generations = itertools.count(0x1000, 0x10)
        self.nodes = {name: Node(self, name) for name in ("node1", "node2")}
        self.link = True
        monkeypatch.setattr(storage_drbd.Drbd, "sleep", staticmethod(self.tick))
        for name in ("NOTICE_DEATH", "SETTLE", "RECONNECT"):
            monkeypatch.setattr(storage_drbd, name, 0)

    def tick(self, _seconds=0):
        """Time passes: what is pending happens."""
        self.meet()

    def on(self, name, check_mode=False):
        """An executor on a node, with the code's idea of "here" set to it."""
        node = self.nodes[name]
        self.monkeypatch.setattr(resource_file, "FOLDER", node.path("drbd.d"))
        self.monkeypatch.setattr(helper, "PARAMETER", node.path("usermode_helper"))
        self.monkeypatch.setattr(base, "this_host", lambda: name)
        folder = node.path("instances")
        self.monkeypatch.setattr(generation.claim, "__defaults__", (None, folder, node.path("locks")))
        self.monkeypatch.setattr(generation.forget, "__defaults__", (folder,))
        self.monkeypatch.setattr(generation.refuse_older, "__defaults__", (folder,))
        return NodeExecutor(node, check_mode)

    def peer(self, node):
        """The other node."""
        return next(other for other in self.nodes.values() if other is not node)

    def cut(self):
        """The link goes: every connection waits."""
        self.link = False
        for node in self.nodes.values():
            for resource in node.resources.values():
                if resource["connection"] == "Connected":
                    self._lose(node, resource)

    def _lose(self, node, resource):
        resource.update(connection="Connecting", replication="Off")
        if resource["role"] == "Primary" and resource["disk"] == "UpToDate":
            node.new_generation(resource)

    def mend(self):
        """The link is back."""
        self.link = True
        self.meet()

    def power_off(self, name):
        """A node loses everything that is not on its disks."""
        node = self.nodes[name]
        node.resources.clear()
        node.opened.clear()
        for volume in node.volumes.values():
            volume["active"] = False
        for resource in self.peer(node).resources.values():
            if resource["connection"] == "Connected":
                self._lose(self.peer(node), resource)

    def boot(self, name):
        """LVM activates what it finds."""
        for volume in self.nodes[name].volumes.values():
            volume["active"] = True

    def meet(self):
        """Resources that wait for each other connect, compare generations and choose a source."""
        one, two = self.nodes["node1"], self.nodes["node2"]
        for name in sorted(set(one.resources) & set(two.resources)):
            here, there = one.resources[name], two.resources[name]
            if not self.link or {here["connection"], there["connection"]} != {"Connecting"}:
                continue
            if here["secret"] != there["secret"]:
                continue
            self._handshake(name, here, there)

    def _handshake(self, name, here, there):
        one, two = (self.nodes[node].metadata(name) for node in ("node1", "node2"))
        if here["two"] != there["two"]:
            here["connection"] = there["connection"] = "StandAlone"
            return
        here["connection"] = there["connection"] = "Connected"
        here["replication"] = there["replication"] = "Established"
        if one["current"] == two["current"]:
            return
        if one["current"] == 4 or one["current"] in two["history"]:
            self._source(there, here)
        elif two["current"] == 4 or two["current"] in one["history"]:
            self._source(here, there)
        else:
            here.update(connection="StandAlone", replication="Off", two=False)
            there.update(connection="StandAlone", replication="Off", two=False)

    @staticmethod
    def _source(source, target):
        source["replication"], target["replication"] = "SyncSource", "SyncTarget"
        target["disk"] = "Inconsistent"

    def sync(self):
        """Every synchronisation ends."""
        self.meet()
        for node in self.nodes.values():
            for name, resource in node.resources.items():
                if resource["replication"] == "SyncTarget":
                    source = self.peer(node)
                    resource.update(disk="UpToDate", replication="Established")
                    source.resources[name]["replication"] = "Established"
                    node.volumes[name]["content"] = source.volumes[name]["content"]
                    node.metadata(name).update(
                        current=source.metadata(name)["current"], history=set(source.metadata(name)["history"])
                    )


class Node:
    """One node's disks and kernel."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name
        self.size_mib = 2000
        self.volumes = {}
        self.resources = {}
        self.opened = set()
        for folder in ("drbd.d", "instances"):
            os.makedirs(self.path(folder))

    def path(self, *parts):
        """A path on the node."""
        return os.path.join(str(self.cluster.folder), self.name, *parts)

    def metadata(self, name):
        """What is on the metadata volume."""
        return self.volumes[name + "-meta"]["content"]

    def new_generation(self, resource):
        """The data here goes its own way from now."""
        metadata = self.metadata(resource["name"])
        metadata["history"].add(metadata["current"])
        metadata["current"] = next(self.cluster.generations)

    def peer_of(self, resource):
        """The other node's resource, when connected."""
        if resource["connection"] != "Connected":
            return None
        return self.cluster.peer(self).resources.get(resource["name"])

    # -- commands; each returns (exit code, output, error) -------------------------------------------------------

    def run(self, argv):
        """Answer one command."""
        words = [word.replace("-", "_") for word in argv[:2]]
        for name in ("do_" + words[0], "do_" + "_".join(words)):
            function = getattr(self, name, None)
            if function is not None:
                return function(argv)
        raise AssertionError("a command no real node was asked in these tests: %s" % argv)

    def do_vgs(self, _argv):
        free = self.size_mib - sum(volume["size_mib"] for volume in self.volumes.values())
        row = {
            "vg_name": "gantry",
            "vg_size": self.size_mib << 20,
            "vg_free": free << 20,
            "vg_extent_size": EXTENT << 20,
            "vg_missing_pv_count": 0,
        }
        return 0, json.dumps({"report": [{"vg": [{key: str(value) for key, value in row.items()}]}]}), ""

    def do_lvs(self, _argv):
        busy = {
            name + end for name, seen in self.resources.items() if seen["disk"] != "Diskless" for end in ("", "-meta")
        }
        rows = [
            {
                "vg_name": "gantry",
                "lv_name": name,
                "lv_size": str(volume["size_mib"] << 20),
                "lv_tags": ",".join(sorted(volume["tags"])),
                "lv_active": "active" if volume["active"] else "",
                "lv_device_open": "open" if name in busy or name in self.opened else "",
            }
            for name, volume in sorted(self.volumes.items())
        ]
        return 0, json.dumps({"report": [{"lv": rows}]}), ""

    def do_lvcreate(self, argv):
        name, size = argv[argv.index("--name") + 1], int(argv[argv.index("--size") + 1].rstrip("m"))
        size = -(-size // EXTENT) * EXTENT
        used = sum(volume["size_mib"] for volume in self.volumes.values())
        if name in self.volumes or used + size > self.size_mib:
            return 5, "", "exists, or no space"
        tags = {argv[place + 1] for place, word in enumerate(argv) if word == "--addtag"}
        self.volumes[name] = {"size_mib": size, "tags": tags, "active": True, "content": BLANK}
        return 0, "", ""

    def do_lvchange(self, argv):
        volume = self.volumes[argv[-1].split("/")[1]]
        for option, value in zip(argv[1:-1:2], argv[2:-1:2]):
            if option == "--activate":
                volume["active"] = value == "y"
            elif option == "--addtag":
                volume["tags"].add(value)
            else:
                volume["tags"].discard(value)
        return 0, "", ""

    def do_lvrename(self, argv):
        _vg, name, new_name = argv[1:]
        if new_name in self.volumes or name in self._busy():
            return 5, "", "exists, or is in use"
        self.volumes[new_name] = self.volumes.pop(name)
        return 0, "", ""

    def do_drbdadm_detach(self, argv):
        seen = self.resources[argv[-1]]
        peer = self.peer_of(seen)
        if seen["role"] == "Primary" and not (peer and peer["disk"] == "UpToDate"):
            return 17, "", "State change failed: (-2) Need access to UpToDate data"
        seen["disk"] = "Diskless"
        return 0, "", ""

    def do_lvextend(self, argv):
        size = int(argv[argv.index("--size") + 1].rstrip("m"))
        self.volumes[argv[-1].split("/")[1]]["size_mib"] = -(-size // EXTENT) * EXTENT
        return 0, "", ""

    def do_lvremove(self, argv):
        name = argv[-1].split("/")[1]
        if name not in self.volumes:
            return 5, "", "  Failed to find logical volume"
        if '"lv_name": "%s"' % name in self.do_lvs(None)[1] and name in self._busy():
            return 5, "", "  Logical volume gantry/%s in use." % name
        del self.volumes[name]
        return 0, "", ""

    def _busy(self):
        rows = json.loads(self.do_lvs(None)[1])["report"][0]["lv"]
        return {row["lv_name"] for row in rows if row["lv_device_open"] == "open"}

    def _config(self, name):
        """The file's content; None: drbdadm knows no such resource."""
        text = read_text(resource_file.path_of(name))
        return None if text is None else resource_file.describe(text, name)[name]

    def do_drbdsetup_events2(self, _argv):
        self.cluster.meet()
        lines = []
        for name, seen in self.resources.items():
            peer = self.peer_of(seen)
            disk = peer["disk"] if peer else "DUnknown"
            behind = 0 if seen["replication"] in ("Established", "Off") and seen["disk"] != "Inconsistent" else 1024
            lines += [
                "exists resource name:%s role:%s suspended:no write-ordering:flush" % (name, seen["role"]),
                "exists connection name:%s peer-node-id:0 connection:%s role:%s congested:no"
                % (name, seen["connection"], peer["role"] if peer else "Unknown"),
                "exists device name:%s volume:0 minor:%d disk:%s size:%d read:0 written:0"
                % (name, seen["minor"], seen["disk"], self.volumes.get(name, {"size_mib": 0})["size_mib"] * 1024),
                "exists peer-device name:%s peer-node-id:0 volume:0 replication:%s peer-disk:%s resync-suspended:no "
                "received:0 sent:0 out-of-sync:%d pending:0 unacked:0" % (name, seen["replication"], disk, behind),
            ]
        return 0, "\n".join(lines + ["exists -"]) + "\n", ""

    def do_drbdsetup_show(self, _argv):
        parts = []
        for name, seen in self.resources.items():
            parts.append(
                "resource %s {\n    net {\n%s    }\n}\n"
                % (name, "        allow-two-primaries\tyes;\n" if seen["two"] else "")
            )
        return 0, "\n".join(parts), ""

    def do_drbdsetup_down(self, argv):
        seen = self.resources.get(argv[2])
        if seen and seen["role"] == "Primary":
            return 11, "", "State change failed: (-12) Device is held open by someone"
        if seen:
            peer = self.peer_of(seen)
            if peer:
                self.cluster._lose(self.cluster.peer(self), peer)
            del self.resources[argv[2]]
        return 0, "", ""

    def do_drbdadm___version(self, _argv):
        return 0, "DRBD_KERNEL_VERSION_CODE=0x08040b\nDRBDADM_VERSION_CODE=0x091600\n", ""

    def do_drbdadm_create_md(self, argv):
        self.volumes[argv[-1] + "-meta"]["content"] = {"current": 4, "history": set()}
        return 0, "", ""

    def do_drbdadm_dump_md(self, argv):
        if isinstance(self.volumes[argv[-1] + "-meta"]["content"], dict):
            return 0, 'version "v08";\n', ""
        return 1, "No valid meta data found\n", ""

    def do_drbdadm_get_gi(self, argv):
        return 0, "%016X:%016X:0:0:0:0:0\n" % (self.metadata(argv[-1])["current"], 0), ""

    def do_drbdadm_adjust(self, argv):
        name = argv[-1]
        config = self._config(name)
        if config is None:
            return 1, "", "'%s' not defined in your config (for this host)." % name
        for end in ("", "-meta"):
            if not self.volumes[name + end]["active"]:
                return 1, "", "no such device"
        metadata = self.metadata(name)
        if not isinstance(metadata, dict):
            return 1, "", "no metadata; --shared-secret=%s" % config["secret"]
        seen = self.resources.get(name)
        if seen is None:
            seen = self.resources[name] = {
                "name": name,
                "minor": config["hosts"][self.name]["minors"][0],
                "role": "Secondary",
                "disk": "Diskless",
                "connection": "StandAlone",
                "replication": "Off",
                "two": False,
                "secret": config["secret"],
            }
        if seen["disk"] == "Diskless":
            seen["disk"] = "Inconsistent" if metadata["current"] == 4 else "UpToDate"
            if self.peer_of(seen):
                one, two = (node.resources[name] for node in self.cluster.nodes.values())
                self.cluster._handshake(name, one, two)
        if seen["connection"] == "StandAlone":
            seen.update(connection="Connecting", two=False)
        self.cluster.meet()
        return 0, "", ""

    def do_drbdadm_primary(self, argv):
        seen = self.resources[argv[-1]]
        peer = self.peer_of(seen)
        if peer and peer["role"] == "Primary" and not (seen["two"] and peer["two"]):
            return 11, "", "State change failed: (-1) Multiple primaries not allowed by config"
        if "--force" in argv and seen["disk"] == "Inconsistent":
            seen["disk"] = "UpToDate"
            self.new_generation(seen)
            if peer:
                self.cluster._source(seen, peer)
        if seen["disk"] != "UpToDate":
            return 17, "", "State change failed: (-2) Need access to UpToDate data"
        seen["role"] = "Primary"
        if not peer:
            self.new_generation(seen)
        return 0, "", ""

    def do_drbdadm_secondary(self, argv):
        if argv[-1] in self.opened:
            return 11, "", "State change failed: (-12) Device is held open by someone"
        self.resources[argv[-1]]["role"] = "Secondary"
        return 0, "", ""

    def do_drbdadm_net_options(self, argv):
        seen = self.resources[argv[-1]]
        allow = "--allow-two-primaries=yes" in argv
        peer = self.peer_of(seen)
        if not allow and seen["role"] == "Primary" and peer and peer["role"] == "Primary":
            return 10, "", "Failure: (164) Can not clear allow_two_primaries"
        for one in (seen, peer):
            if one:
                one["two"] = allow
        return 0, "", ""

    def do_dmesg(self, _argv):
        line = "drbd %s: Split-Brain detected but unresolved, dropping connection!\n"
        return 0, "".join(line % name for name in self.resources), ""

    def do_qemu_img_info(self, argv):
        with open(argv[-1], encoding="utf-8") as stream:
            return 0, stream.read(), ""

    def do_qemu_img_convert(self, argv):
        self.write(argv[-1], "half of " + argv[-2])
        return 0, "", ""

    def write(self, device, content):
        """A guest, or an image, writes to a device."""
        for name, seen in self.resources.items():
            if device == "/dev/drbd%d" % seen["minor"]:
                if seen["role"] != "Primary":
                    raise AssertionError("written to while secondary")
                self.volumes[name]["content"] = content
                peer = self.peer_of(seen)
                if peer and peer["disk"] == "UpToDate":
                    self.cluster.peer(self).volumes[name]["content"] = content
                return
        self.volumes[device.rsplit("/", 1)[1]]["content"] = content


class NodeExecutor(Executor):
    """The real executor's bookkeeping over a node in memory.

    :ivar kill_at: number of the mutation at which the process dies, from 0; None: never.
    :ivar kill_after: die after the mutation had its effect instead of before.
    """

    MUTATING = (
        "lvcreate",
        "lvchange",
        "lvextend",
        "lvremove",
        "lvrename",
        "detach",
        "create-md",
        "adjust",
        "primary",
        "secondary",
        "net-options",
        "down",
        "convert",
    )

    def __init__(self, node, check_mode=False):
        super().__init__(check_mode=check_mode)
        self.node = node
        self.kill_at = None
        self.kill_after = False
        self.mutations = 0
        self.log = []

    @contextlib.contextmanager
    def mutation(self, what):
        """Count, and die when it is time."""
        if self.check_mode:
            raise AssertionError("changed in check mode: %s" % what)
        number, self.mutations = self.mutations, self.mutations + 1
        self.log.append(what)
        if number == self.kill_at and not self.kill_after:
            raise Killed(what)
        yield
        if number == self.kill_at:
            raise Killed(what)

    def _run(self, argv, ok, stdin):
        if set(argv[:2]) & set(self.MUTATING):
            with self.mutation(" ".join(argv)):
                rc, out, err = self.node.run(argv)
            if "convert" in argv:
                # Between the end of qemu-img and the return: the image is complete.
                self.node.write(argv[-1], "image " + argv[-2])
        else:
            rc, out, err = self.node.run(argv)
        if ok is not None and rc not in ok:
            raise base.GantryError(
                "The command '%s' failed with exit code %d" % (" ".join(argv), rc),
                found=err or out,
                code="command_failed",
            )
        return Result(rc, out, err)

    def write_file(self, path, content, mode=0o600, what=None, secret=False, note=True):
        """The real thing, but counted."""
        if read_text(path) == content or self.check_mode:
            return super().write_file(path, content, mode, what, secret, note)
        with self.mutation("write " + path):
            return super().write_file(path, content, mode, what, secret, note)

    def remove_file(self, path, what=None, note=True):
        """The real thing, but counted."""
        if not os.path.lexists(path) or self.check_mode:
            return super().remove_file(path, what, note)
        with self.mutation("remove " + path):
            return super().remove_file(path, what, note)


def states(node):
    """What parse makes of a node's state, for comparisons."""
    return parse.events2(node.do_drbdsetup_events2(None)[1])
