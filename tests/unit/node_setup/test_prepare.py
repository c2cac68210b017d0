# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole on a server in a folder: done once, twice, in check mode, refused, interrupted."""

from __future__ import annotations

import os
import pathlib
import stat
import tempfile

import pytest
from ansible_collections.gantry.cluster.plugins.module_utils import tpm_hook
from ansible_collections.gantry.cluster.plugins.module_utils.drbd import helper as drbd_helper
from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.module_utils.executor import Result
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import prepare as preparation
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup import text as texts
from ansible_collections.gantry.cluster.plugins.module_utils.node_setup.files import Files

from .server import Binding, Commands, Server, options, prepare

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6VMC1cp32Teynkeg8Mu+D1qf2IoH9BMgBl3b7ZxNtl"
UUID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(name="server")
def a_server(tmp_path, monkeypatch):
    """A plain server called node1."""
    system = os.uname()
    names = type("Names", (), {"nodename": "node1", "release": system.release})
    monkeypatch.setattr(os, "uname", lambda: names)
    return Server(tmp_path)


def peers(*numbers, **changed):
    """Nodes as the registry has them."""
    return [
        dict(
            {
                "name": "node%d" % number,
                "hostname": "node%d" % number,
                "address": "10.77.0.1%d" % number,
                "group": "default",
                "ssh_host_keys": [KEY],
                "migration_public_key": KEY,
            },
            **changed,
        )
        for number in numbers
    ]


def refused(server, **changed):
    """The refusal; nothing was touched."""
    before, executor = server.snapshot(), []
    with pytest.raises(GantryError) as caught:
        executor.append(prepare(server, **changed))
    assert server.snapshot() == before
    return caught.value


def test_once_and_twice(server):
    """A plain server becomes a node; the second time nothing changes."""
    result, executor = prepare(server)
    assert executor.changes == [
        "load the kernel module drbd",
        "write /usr/local/sbin/gantry-drbd-helper",
        "write /etc/modules-load.d/gantry.conf",
        "write /etc/modprobe.d/gantry-drbd.conf",
        "write /etc/lvm/lvmlocal.conf",
        "write /etc/default/libvirt-guests",
        "mask libvirt-guests.service",
        "write /usr/local/lib/gantry/node-stop",
        "make the folder /etc/systemd/system/libvirtd.service.d",
        "write /etc/systemd/system/libvirtd.service.d/gantry.conf",
        "write /etc/systemd/system/gantry-node.service",
        "let systemd read its units again",
        "enable and start gantry-node.service",
        "make the system user gantry-migrate",
        "make the folder /var/lib/gantry/migration/.ssh",
        "make the folder /etc/gantry",
        "make the folder /etc/gantry/migration",
        "make the migration key /etc/gantry/migration/id_ed25519",
        "write /etc/libvirt/hooks/gantry-tpm",
        "write /etc/libvirt/hooks/qemu.d/gantry-tpm",
        "restart libvirtd if it runs, so that it sees its hook",
        "write /etc/ssh/ssh_config.d/50-gantry.conf",
        "write /etc/libvirt/hooks/gantry-nic",
    ]
    assert result["hostname"] == "node1" and result["findings"] == [] and result["reboot_required"] is False
    assert result["migration_public_key"] == texts.clean_key(server.text(texts.MIGRATION_KEY + ".pub"))
    assert result["ssh_host_keys"] == [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJrdLUX6TgAz5O60QRCwOsZPFCQy56+NaDI/zy6wBQsp"
    ]
    versions = {"drbd": "8.4.11", "drbd_utils": "9.22.0", "lvm": "2.03.16(2)", "libvirt": "9.0.0"}
    assert {key: result["versions"][key] for key in versions} == versions
    assert server.text(texts.DRBD_HELPER).strip() == drbd_helper.PATH
    assert server.text(drbd_helper.PATH) == drbd_helper.TEXT and os.access(server.path(drbd_helper.PATH), os.X_OK)
    assert server.lvm_filter() == texts.lvm_rejects("gantry") == result["lvm_filter"]
    assert server.units["libvirt-guests.service"] == ["masked", "active", "masked"], "masked, and not stopped"
    assert not os.path.exists(server.path(texts.AUTHORIZED_KEYS)), "no peers were named"

    before = server.snapshot()
    again, executor = prepare(server)
    assert executor.changes == [] and executor.diff() == [] and server.snapshot() == before
    assert again == result


def test_xendomains_is_masked_where_it_is(server):
    """It would save guests when the node goes down and restore them when it comes up, wherever they run by then."""
    server.units["xendomains.service"] = ["loaded", "active", "generated"]
    _result, executor = prepare(server)
    assert "mask xendomains.service" in executor.changes
    assert server.units["xendomains.service"] == ["masked", "active", "masked"], "masked, and not stopped"
    assert prepare(server)[1].changes == []


def test_modes(server):
    """The private key is root's alone; what sshd reads as the migration user can be read and not be written."""
    old = os.umask(0o077)
    try:
        prepare(server, peers=peers(1, 2))
    finally:
        os.umask(old)
    modes = {
        texts.MIGRATION_FOLDER: 0o700,
        texts.MIGRATION_KEY: 0o600,
        texts.AUTHORIZED_KEYS: 0o644,
        texts.STOP_SCRIPT: 0o755,
        os.path.dirname(texts.AUTHORIZED_KEYS): 0o755,
        texts.MIGRATION_HOME: 0o755,
        "/var/lib/gantry": 0o755,
    }
    for path, mode in modes.items():
        assert stat.S_IMODE(os.stat(server.path(path)).st_mode) == mode, path
    os.chmod(server.path(texts.MIGRATION_KEY), 0o640)
    os.chmod(server.path("/var/lib/gantry"), 0o700)
    unused, executor = prepare(server)
    assert executor.changes == [
        "set the mode of /var/lib/gantry to 0755",
        "set the mode of /etc/gantry/migration/id_ed25519 to 0600",
    ]


@pytest.mark.parametrize("changed", [{}, {"peers": peers(1, 2, 3), "drbd_minor_count": 200}])
def test_check_mode_predicts(server, changed):
    """It touches nothing, runs nothing that would, and says what will be done; no private key in any diff."""
    before = server.snapshot()
    predicted, dry = prepare(server, check_mode=True, **changed)
    assert server.snapshot() == before
    assert not [argv for argv in dry.ran if argv[0] == "drbdadm"], "drbdadm loads the module"
    done, executor = prepare(server, **changed)
    assert dry.changes == executor.changes and dry.diff() == executor.diff()
    assert predicted["migration_public_key"] is None and done["migration_public_key"]
    assert server.text(texts.MIGRATION_KEY).splitlines()[1] not in str(executor.diff())
    after, dry = prepare(server, check_mode=True, **changed)
    assert dry.changes == [] and after == done


def test_peers(server):
    """The trust is exactly the peers: more, fewer, none."""
    unused, executor = prepare(server, peers=peers(1, 2, 3))
    assert executor.changes[-3:] == ["write " + texts.AUTHORIZED_KEYS, "write " + texts.KNOWN_HOSTS, "write /etc/hosts"]
    assert server.text(texts.AUTHORIZED_KEYS).count("virt-ssh-helper") == 2
    assert "10.77.0.13\tnode3" in server.text("/etc/hosts") and "127.0.1.1\tnode1" in server.text("/etc/hosts")
    assert prepare(server, peers=peers(1, 2, 3))[1].changes == []
    assert prepare(server)[1].changes == [], "without peers the trust stays"
    prepare(server, peers=peers(1, 2))
    assert "10.77.0.13" not in server.text(texts.AUTHORIZED_KEYS) + server.text(texts.KNOWN_HOSTS) + server.text(
        "/etc/hosts"
    )
    prepare(server, peers=[])
    assert "10.77.0.12" not in server.text(texts.AUTHORIZED_KEYS) + server.text(texts.KNOWN_HOSTS) + server.text(
        "/etc/hosts"
    )


def test_peers_without_keys(server):
    """A node that is not prepared yet gets no trust, and that is said."""
    result, unused = prepare(server, peers=peers(1) + peers(2, ssh_host_keys=[], migration_public_key=None))
    assert len(result["findings"]) == 2 and all("node2" in finding for finding in result["findings"])
    assert "virt-ssh-helper" not in server.text(texts.AUTHORIZED_KEYS)


@pytest.mark.parametrize(
    "spoil, changed, code",
    [
        (lambda server: None, {"uid": 1000}, "not_root"),
        (lambda server: None, {"binding": None}, "no_libvirt"),
        (lambda server: os.unlink(server.path(texts.SSH_HELPER)), {}, "no_libvirt"),
        (lambda server: setattr(server, "addresses", ["10.0.2.15"]), {}, "no_address"),
        (lambda server: setattr(server, "groups", {}), {}, "no_volume_group"),
        (lambda server: setattr(server, "module", None), {}, "no_drbd"),
        (lambda server: setattr(server, "modprobe", Result(1, "", "Required key not available")), {}, "no_drbd"),
        (lambda server: server.write("etc/hosts", texts.BEGIN + "\n"), {"peers": []}, "broken_block"),
        (lambda server: server.write("etc/lvm/lvmlocal.conf", texts.END + "\n"), {}, "broken_block"),
        (lambda server: setattr(server, "lvm_overruled", ["a|.*|"]), {}, "lvm_filter"),
        (
            lambda server: server.write(
                "etc/lvm/lvm.conf", 'devices {\n\tglobal_filter = [ "a|^/dev/dm-|", "r|.*|" ]\n}\n'
            ),
            {},
            "no_volume_group",
        ),
        (
            lambda server: server.write("etc/lvm/lvm.conf", 'global_filter = [ "a|^/dev/dm-|", "a|vd|", "r|.*|" ]\n'),
            {},
            "lvm_filter",
        ),
        (lambda server: None, {"lvm_reject": ["^/dev/vdb"]}, "lvm_filter"),
        (lambda server: open(server.path("etc/hosts"), "wb").write(b"# caf\xe9\n"), {"peers": []}, "not_text"),
    ],
)
def test_refusals_touch_nothing(server, spoil, changed, code):
    """Whatever is wrong is found before the first change (a module the kernel refuses: by the first change)."""
    spoil(server)
    error = refused(server, **changed)
    assert error.code == code and error.mend


def test_hung_libvirt_is_refused(server):
    """With records of instances their autostart has to be asked about; libvirt must answer in time."""
    server.write("var/lib/gantry/instances/%s.json" % UUID, '{"generation": 1, "record": null}')
    server.virsh = Result(124, "", "")
    assert refused(server).code == "libvirt_unreachable"


def test_autostart_of_our_domains_only(server):
    """A domain in our records must not be started by libvirt; others are none of our business."""
    server.write("var/lib/gantry/instances/%s.json" % UUID, '{"generation": 1, "record": null}')
    server.autostart = [UUID, "99999999-2222-3333-4444-555555555555"]
    unused, executor = prepare(server)
    assert "switch off the autostart of domain %s" % UUID in executor.changes
    assert server.autostart == ["99999999-2222-3333-4444-555555555555"]
    assert prepare(server)[1].changes == []


def test_drbd_loaded_before(server):
    """Its helper is corrected in the running module; what is read at load only is told as a reason for a reboot."""
    server.load_module("/sbin/drbdadm", "32")
    result, executor = prepare(server, drbd_minor_count=200)
    assert executor.changes[0] == "write " + drbd_helper.PATH, "before the module calls it"
    assert executor.changes[3] == "set DRBD's usermode_helper to %s (was /sbin/drbdadm)" % drbd_helper.PATH
    assert server.text(texts.DRBD_HELPER) == drbd_helper.PATH
    assert (
        result["reboot_required"]
        and "32" in result["reboot_reasons"][0]
        and result["findings"] == result["reboot_reasons"]
    )


def test_drbd_too_old_is_found_after_loading(server):
    """Where modinfo names no version, the loaded module does."""
    server.module = ""
    executor = Commands(server)
    server.do_modprobe = lambda words, environment: (
        server.write("sys/module/drbd/version", "8.4.3\n"),
        Result(0, "", ""),
    )[1]
    with pytest.raises(GantryError) as caught:
        prepare(server)
    assert caught.value.code == "drbd_version" and not executor.changed


def test_drbd_9(server):
    """DRBD 9 knows "disabled"."""
    server.module = "9.2.12"
    prepare(server)
    assert server.text(texts.DRBD_HELPER).strip() == "disabled"
    assert "usermode_helper=disabled" in server.text(texts.DRBD_MODPROBE)
    assert not os.path.exists(server.path(drbd_helper.PATH))


def test_drbd_service_is_disabled_and_not_stopped(server):
    """Stopping it would take down resources in use."""
    server.units["drbd.service"] = ["loaded", "active", "enabled"]
    unused, executor = prepare(server)
    assert "disable drbd.service" in executor.changes and server.units["drbd.service"] == [
        "loaded",
        "active",
        "disabled",
    ]


def test_global_common_of_an_administrator(server):
    """Left alone and told; written when there is none, or when the package's own would call home."""
    server.write(texts.DRBD_COMMON, "global { usage-count ask; }\n")
    result, executor = prepare(server)
    assert (
        "global_common.conf" in result["findings"][0]
        and server.text(texts.DRBD_COMMON) == "global { usage-count ask; }\n"
    )
    server.conffiles = " %s 6be55a7d8d9a8b38ce7f3b1e71e2de7b\n" % texts.DRBD_COMMON
    assert prepare(server)[0]["findings"]
    os.unlink(server.path(texts.DRBD_COMMON))
    unused, executor = prepare(server)
    assert executor.changes == ["write " + texts.DRBD_COMMON]
    assert prepare(server)[1].changes == []


def test_the_hook_is_seen_by_the_daemon(server):
    """A daemon that runs is restarted once, with the hook there; a text that changes later needs none, and nobody but kvm a hook."""
    prepare(server)
    assert server.restarts == [("libvirtd.service", True)]
    for path, text in ((tpm_hook.PATH, tpm_hook.TEXT), (tpm_hook.PROGRAM_PATH, tpm_hook.PROGRAM)):
        assert server.text(path) == text and os.access(server.path(path), os.X_OK)
    server.write(tpm_hook.PATH, "an older one\n")
    assert prepare(server)[1].changes == ["write " + tpm_hook.PATH]
    assert len(server.restarts) == 1 and server.text(tpm_hook.PATH) == tpm_hook.TEXT
    server.write(texts.HOOK_UNSEEN, "")
    assert prepare(server)[1].changes == ["restart libvirtd if it runs, so that it sees its hook"], "the last run died before it"
    assert len(server.restarts) == 2 and prepare(server)[1].changes == []


def test_no_hook_without_kvm(server):
    server.write("usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_lxc.so", "")
    prepare(server, hypervisors=["lxc"])
    assert not os.path.exists(server.path(tpm_hook.PATH)) and server.restarts == []


def test_apparmor_lets_qemu_reach_its_tpm(server):
    """Only where it is, and beside what the administrator wrote there."""
    prepare(server)
    assert not os.path.exists(server.path(texts.APPARMOR_LOCAL))
    server.write(texts.APPARMOR_QEMU, "  #include <local/abstractions/libvirt-qemu>\n")
    server.write(texts.APPARMOR_LOCAL, "  /srv/own r,\n")
    assert prepare(server)[1].changes == ["write " + texts.APPARMOR_LOCAL]
    assert server.text(texts.APPARMOR_LOCAL).splitlines() == ["  /srv/own r,", texts.BEGIN, "/run/gantry-tpm/*.sock rw,", texts.END]
    assert prepare(server)[1].changes == []


def test_libvirt_off(server):
    """A disabled and stopped daemon is enabled and its socket started; a stopped service behind a socket is fine."""
    server.units["libvirtd.service"] = ["loaded", "inactive", "disabled"]
    server.units["libvirtd.socket"] = ["loaded", "inactive", "disabled"]
    unused, executor = prepare(server)
    assert [line for line in executor.changes if "libvirtd" in line] == [
        "enable libvirtd.service",
        "start libvirtd.socket",
        "make the folder /etc/systemd/system/libvirtd.service.d",
        "write /etc/systemd/system/libvirtd.service.d/gantry.conf",
        "restart libvirtd if it runs, so that it sees its hook",
    ]
    assert prepare(server)[1].changes == []


def test_modular_libvirt(server):
    """Without libvirtd, virtqemud is the daemon."""
    del server.units["libvirtd.service"], server.units["libvirtd.socket"]
    server.units["virtqemud.service"] = ["loaded", "inactive", "disabled"]
    unused, executor = prepare(server)
    assert [line for line in executor.changes if "virtqemud" in line] == [
        "enable virtqemud.service",
        "start virtqemud.service",
        "make the folder /etc/systemd/system/virtqemud.service.d",
        "write /etc/systemd/system/virtqemud.service.d/gantry.conf",
        "restart virtqemud if it runs, so that it sees its hook",
    ]
    text = pathlib.Path(server.path(texts.DAEMON_DROPIN % "virtqemud")).read_text(encoding="utf-8")
    assert "\nEnvironment=VIRTQEMUD_ARGS=\n" in text


def test_lvm_filter_of_an_administrator(server):
    """His patterns are kept behind ours, and followed when he changes them."""
    server.write("etc/lvm/lvm.conf", 'devices {\n\tglobal_filter = [ "a|^/dev/vd|", "r|.*|" ]\n}\n')
    prepare(server)
    assert server.lvm_filter() == texts.lvm_rejects("gantry") + ["a|^/dev/vd|", "r|.*|"]
    assert prepare(server)[1].changes == []
    server.write("etc/lvm/lvm.conf", 'devices {\n\tglobal_filter = [ "r|^/dev/sdz|", "a|.*|" ]\n}\n')
    result, executor = prepare(server)
    assert executor.changes == ["write /etc/lvm/lvmlocal.conf"]
    assert server.lvm_filter() == texts.lvm_rejects("gantry") + ["r|^/dev/sdz|"] and len(result["findings"]) == 1
    assert prepare(server, lvm_reject=["^/dev/other/"])[1].changes == ["write /etc/lvm/lvmlocal.conf"]


def test_lvm_trial_leaves_nothing_behind(server, tmp_path_factory, monkeypatch):
    """The copies of LVM's configuration are removed, also after a refusal."""
    folder = tmp_path_factory.mktemp("trial")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    server.write("etc/lvm/devices/system.devices", "VERSION=1.1.1\n")
    prepare(server)
    server.lvm_overruled = ["a|.*|"]
    with pytest.raises(GantryError):
        prepare(server)
    assert os.listdir(folder) == []


def test_guest_groups(server):
    """A volume group inside a guest is hidden and told; an active one is refused."""
    server.guest_groups = {"guestvg": ["/dev/drbd0"]}
    server.active = {"guestvg": ["root"]}
    assert refused(server).code == "guest_volume_group_active"
    server.active = {}
    assert "guestvg" in prepare(server)[0]["findings"][0]
    assert prepare(server)[0]["findings"] == []


def test_account_mended(server):
    """An account of ours with another shell, out of libvirt's group."""
    server.accounts["gantry-migrate"] = ["999", "999", "", texts.MIGRATION_HOME, "/usr/sbin/nologin"]
    unused, executor = prepare(server)
    assert [line for line in executor.changes if "gantry-migrate" in line] == [
        "give gantry-migrate the shell /bin/sh (was /usr/sbin/nologin)",
        "put gantry-migrate into the group libvirt",
    ]
    assert prepare(server)[1].changes == []


def test_public_key_made_again(server):
    """From the private one; a broken one is refused."""
    first, unused = prepare(server)
    os.unlink(server.path(texts.MIGRATION_KEY + ".pub"))
    again, executor = prepare(server)
    assert executor.changes == ["write %s.pub" % texts.MIGRATION_KEY]
    assert again["migration_public_key"] == first["migration_public_key"]
    server.write(texts.MIGRATION_KEY + ".pub", "nonsense\n")
    with pytest.raises(GantryError) as caught:
        prepare(server)
    assert caught.value.code == "broken_key"


def test_findings(server):
    """What is left as it is and may do harm."""
    server.units["multipathd.service"] = ["loaded", "active", "enabled"]
    server.multipath = "blacklist {\n}\n"
    server.sshd = "allowusers admin\n"
    server.write("run/reboot-required", "")
    server.write("etc/hosts", "192.0.2.2 node2\n")
    result, unused = prepare(server, peers=peers(1, 2))
    assert [
        word
        for word in ("192.0.2.2", "multipathd", "AllowUsers")
        if not any(word in line for line in result["findings"])
    ] == []
    assert result["reboot_required"] and "reboot-required" in result["reboot_reasons"][0]


class Interrupted(Exception):
    """The module was killed."""


class Dying(Commands):
    """An executor that dies at the n-th change."""

    def __init__(self, server, last):
        super().__init__(server)
        self.last = last

    def _count(self):
        if len(self.changes) >= self.last:
            raise Interrupted

    def change(self, what, argv, ok=(0,), stdin=None):
        """Die instead, or change."""
        self._count()
        return super().change(what, argv, ok, stdin)

    def call(self, what, function, *args, **kwargs):
        """Die instead, or call."""
        self._count()
        return super().call(what, function, *args, **kwargs)

    def write_file(self, path, content, mode=0o600, what=None, secret=False, note=True):
        """Die instead, or write."""
        self._count()
        return super().write_file(path, content, mode, what, secret, note)


def test_interrupted_anywhere(tmp_path, monkeypatch):
    """Killed before any of its changes and run again, it ends as if it had not been."""
    names = type("Names", (), {"nodename": "node1", "release": "6.1.0"})
    monkeypatch.setattr(os, "uname", lambda: names)
    count = len(prepare(Server(tmp_path / "whole"), peers=peers(1, 2))[1].changes)
    assert count > 15
    for last in range(count):
        server = Server(tmp_path / str(last))
        with pytest.raises(Interrupted):
            preparation.prepare(
                Dying(server, last), options(peers=peers(1, 2)), Files(server.root), Binding, 0
            )
        prepare(server, peers=peers(1, 2))
        result, executor = prepare(server, peers=peers(1, 2))
        assert executor.changes == [] and result["findings"] == []
