# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as the demo and the tests use it: run a verb as an operator would, look at the nodes, cut power and links."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from lab import audit

#: What the nodes of tests/lab_hypervisors run guests with: a flavour, or one for each node.
FLAVOUR = os.environ.get("GANTRY_LAB_FLAVOUR") or "kvm"
#: Where a guest's console is kept on a node: by virtlogd (roles/instance/templates/domain_kvm.xml.j2), by xenconsoled, and by
#: the lab itself (lab/image/files/usr/local/lib/gantry-lab/consoles).
CONSOLES = {
    "kvm": "/var/log/libvirt/qemu/{}-console.log",
    "lxc": "/var/log/libvirt/lxc/{}-console.log",
    "xen": "/var/log/xen/console/guest-{}.log",
}
#: libvirt's driver for each flavour of node.
URIS = {"kvm": "qemu:///system", "lxc": "lxc:///system", "xen": "xen:///system"}
ROOT = pathlib.Path(__file__).resolve().parents[1]
#: Where the test guest's image lies on the nodes.
IMAGE = "/srv/images/test-guest.img"
#: The same of a container, and what a Xen guest is started with: its disk may be any empty one, such as IMAGE.
LXC_IMAGE = "/srv/images/test-guest-lxc.img"
XEN_KERNEL = "/srv/images/test-guest-xen.vmlinuz"
XEN_INITRD = "/srv/images/test-guest-xen.initrd"
#: What a Xen guest that counts is declared with.
XEN_GUEST = {"memory": "128MiB", "image": IMAGE, "kernel": XEN_KERNEL, "initrd": XEN_INITRD, "kernel_args": "console=hvc0 quiet panic=-1",
             "hvparams": {"root_path": ""}}
#: The test guest's disk on this node, whether or not a container has its file system in use.
CONTAINER_DISK = """
controller=$(cat /run/libvirt/lxc/{name}.pid 2>/dev/null) && first=$(pgrep -P "$controller" 2>/dev/null | head -n 1)
if [ -n "$first" ] && [ -e "/proc/$first/root/disk" ]; then disk=/proc/$first/root/disk; else disk={device}; fi
dd if="$disk" bs=1M count=16 iflag=direct status=none
"""


class Run:
    """A finished ``ansible-playbook``: its exit code, text, recap and number of remote module calls."""

    def __init__(self, code, text, seconds):
        self.code, self.text, self.seconds = code, text, seconds
        #: The text with every run of blanks as one, to look for sentences: Ansible breaks them into lines.
        self.words = " ".join(text.split())
        recap = text.rpartition("PLAY RECAP")[2]
        self.changed = sum(int(number) for number in re.findall(r"changed=(\d+)", recap))
        self.failed = sum(int(number) for number in re.findall(r"(?:failed|unreachable)=(\d+)", recap))
        #: With pipelining every module run is one SSH command.
        self.calls = len(re.findall(r"SSH: EXEC ", text))

    @property
    def ok(self):
        """It succeeded."""
        return self.code == 0


def prepare(cluster):
    """Make the lab's nodes a cluster, and put the test guests on them. Returns the image's path on the nodes of kvm and xen.

    :raises RuntimeError: a verb failed.
    """
    for verb, extra in (("cluster_init", {"cluster_name": cluster.name + ".example.com"}), ("node_add", {"all": True})):
        run = cluster.play(verb, **extra)
        if not run.ok:
            raise RuntimeError(run.text)
    put_guests(cluster)
    return IMAGE


def put_guests(cluster):
    """Build the test guests of the lab's flavours, and put on each node what its guests are made of."""
    flavours = cluster.flavours()
    guests = {flavour: _build(cluster, flavour) for flavour in set(flavours.values()) | {"kvm"}}
    for node in cluster.nodes:
        flavour = flavours[node]
        if flavour == "lxc":
            cluster.put(node, guests["lxc"], LXC_IMAGE)
            continue
        cluster.put(node, guests["kvm"], IMAGE)
        if flavour == "xen":
            cluster.put(node, guests["xen"], XEN_INITRD)
            cluster.ssh(node, "cp /boot/vmlinuz-$(uname -r) %s" % XEN_KERNEL)


def _build(cluster, flavour):
    """Build the test guest of a flavour; return its path here."""
    path = cluster.folder / ("test-guest-%s" % flavour)
    words = [str(ROOT / "lab" / "guest" / "build"), "--kind", flavour]
    if flavour == "xen":
        words += ["--module", os.path.join(cluster.made_of()["images"]["xen"], "xen-blkfront.ko")]
    subprocess.run([*words, str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def refused(run, *words):
    """A verb failed, changed nothing and says why in these words. :raises AssertionError: it did not."""
    missing = [word for word in words if word not in run.words]
    if run.ok or run.changed or missing:
        raise AssertionError("rc=%d, changed=%d, not said: %s\n%s" % (run.code, run.changed, missing, run.text))


class Cluster:
    """One lab and its inventory.

    :param name: the lab's name.
    :param flavour: what the nodes run guests with, as ``script/lab up --flavour`` has it.
    """

    def __init__(self, name, nodes=3, suite="bookworm", flavour="kvm"):
        self.name, self.suite, self.flavour = name, suite, flavour
        self.nodes = ["node%d" % number for number in range(1, nodes + 1)]
        self.folder = ROOT / ".lab" / name
        self.inventory = self.folder / "inventory"
        self.down, self.degraded = set(), set()
        self.log = sys.stderr
        self._runs = 0

    # -- the lab ----------------------------------------------------------------------------------------------

    def lab(self, *words, check=True):
        """Run ``script/lab`` for this lab; return its output."""
        done = subprocess.run([str(ROOT / "script" / "lab"), "--name", self.name] + list(words), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        if check and done.returncode:
            raise RuntimeError("script/lab %s: %s" % (" ".join(words), done.stdout))
        return done.stdout

    def up(self):
        """Boot the nodes."""
        self.lab("up", "--nodes", str(len(self.nodes)), "--suite", self.suite, "--flavour", self.flavour)

    def made_of(self):
        """What the lab remembers of itself."""
        return json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))

    def flavours(self):
        """What each node runs guests with: ``{node: kvm, lxc or xen}``."""
        known = self.made_of()["nodes"]
        return {node: known[node].get("flavour", "kvm") for node in self.nodes}

    def console(self, node, name):
        """Where a guest's console is kept on a node."""
        return CONSOLES[self.flavours()[node]].format(name)

    def down_all(self):
        """Remove the lab."""
        self.lab("down")

    def ssh(self, node, command, check=True):
        """Run a command on a node; return its output."""
        done = subprocess.run([str(ROOT / "script" / "lab"), "--name", self.name, "ssh", node, command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False)
        if check and done.returncode:
            raise RuntimeError("%s: %s: %s" % (node, command, done.stdout))
        return done.stdout

    def put(self, node, local, remote):
        """Copy a file to a node, readable for all."""
        command = "mkdir -p %s && cat > %s && chmod 0644 %s" % (os.path.dirname(remote), remote, remote)
        with open(local, "rb") as stream:
            subprocess.run([str(ROOT / "script" / "lab"), "--name", self.name, "ssh", node, command], stdin=stream,
                           stdout=subprocess.DEVNULL, check=True)

    def disk(self, node, device, size=16 * 1024 * 1024):
        """The first bytes of a node's block device, read past its cache."""
        return self.read(node, "dd if=%s bs=1M count=%d iflag=direct status=none" % (device, size // (1024 * 1024)))

    def read(self, node, command):
        """Run a command on a node; return the bytes it writes."""
        return subprocess.run([str(ROOT / "script" / "lab"), "--name", self.name, "ssh", node, command],
                              stdout=subprocess.PIPE, check=True).stdout

    def power_off(self, node):
        """Cut a node's power."""
        self.lab("power", node, "off")
        self.down.add(node)

    def power_on(self, node):
        """Boot a node again."""
        self.lab("power", node, "on", "--wait")
        self.down.discard(node)

    # -- verbs ------------------------------------------------------------------------------------------------

    def declare(self, name, **variables):
        """Declare an instance in an inventory file of its own."""
        path = self.inventory / ("instance_%s.yml" % name)
        given = {"gantry_" + key: value for key, value in variables.items()}
        path.write_text(json.dumps({"gantry_instances": {"hosts": {name: given}}}), encoding="utf-8")

    def forget(self, name):
        """Take the declaration back."""
        (self.inventory / ("instance_%s.yml" % name)).unlink(missing_ok=True)

    def command(self, verb, limit=None, check=False, count=False, forks=10, **extra):
        """The command line of a verb."""
        words = ["ansible-playbook", "-i", str(self.inventory), str(ROOT / "playbooks" / (verb + ".yml")), "-f", str(forks)]
        if limit:
            words += ["-l", limit]
        if check:
            words += ["--check", "--diff"]
        if count:
            words += ["-vvv"]
        if extra:
            words += ["-e", json.dumps({"gantry_" + key: value for key, value in extra.items()})]
        return words

    def python(self, script, *words):
        """Run a script with the collection importable; return its output."""
        environment = dict(self.environment(), PYTHONPATH=str(ROOT / "collections"))
        return subprocess.run([sys.executable, "-c", script] + list(words), env=environment, stdout=subprocess.PIPE, encoding="utf-8",
                              check=True).stdout

    def environment(self):
        """The environment of a run."""
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        return dict(os.environ, PATH=path, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")

    def play(self, verb, limit=None, follow=None, stepwise=False, **options):
        """Run a verb to its end.

        :param follow: called with every line of its output as it comes.
        :param stepwise: the run is stopped while ``follow`` looks at it.
        """
        command = self.command(verb, limit, **options)
        started = time.monotonic()
        process = self._start(command)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if follow:
                if stepwise:
                    os.killpg(process.pid, signal.SIGSTOP)
                follow(line)
                if stepwise:
                    os.killpg(process.pid, signal.SIGCONT)
        run = Run(process.wait(), "".join(lines), time.monotonic() - started)
        self._keep(verb, run.text)
        words = " ".join("%s=%s" % item for item in sorted(options.items()))
        if not follow:
            print("  %-18s %-24s %-30s %5.1f s  rc=%d changed=%d" % (verb, limit or "", words, run.seconds, run.code, run.changed),
                  file=self.log, flush=True)
        return run

    def _keep(self, verb, text):
        """Keep a run's output in the lab's folder: what failed in the middle of hours cannot always be made again."""
        self._runs += 1
        folder = self.folder / "runs"
        folder.mkdir(exist_ok=True)
        (folder / ("%d_%04d_%s.log" % (os.getpid(), self._runs, verb))).write_text(text, encoding="utf-8")

    def _start(self, command):
        return subprocess.Popen(command, cwd=str(ROOT), env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", start_new_session=True)

    def play_killed(self, verb, limit, marker, delay=0.0, occurrence=1, **options):
        """Start a verb, and kill the whole run with SIGKILL when ``marker`` has appeared in its output.

        :param delay: seconds to wait after the marker, to hit the middle of what it announces.
        :param occurrence: which line with the marker is meant, from 1.
        :returns: whether the marker came; else the run has ended by itself.
        """
        process = self._start(self.command(verb, limit, **options))
        text = ""
        for line in process.stdout:
            text += line
            occurrence -= marker in line
            if not occurrence:
                time.sleep(delay)
                break
        struck = not occurrence and process.poll() is None
        if struck:
            os.killpg(process.pid, signal.SIGKILL)
        text += process.stdout.read()
        process.wait()
        self._keep(verb + "_killed", text)
        what = "killed %.1f s after '%s'" % (delay, marker) if struck else "ended before '%s'" % marker
        print("  %-18s %-24s %s" % (verb, limit or "", what), file=self.log, flush=True)
        return struck

    # -- looking ----------------------------------------------------------------------------------------------

    def states(self):
        """What the nodes that are up show."""
        nodes = [node for node in self.nodes if node not in self.down]
        flavours = self.flavours()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            texts = pool.map(lambda node: self.ssh(node, "URI=%s\n%s" % (URIS[flavours[node]], audit.PROBE)), nodes)
            return dict(zip(nodes, map(audit.parse, texts)))

    def registry(self):
        """The registry's content."""
        return audit.read_registry(self.folder / "registry.db")[0]

    def instance(self, name):
        """An instance's record, or None."""
        return self.registry().get("instances/" + name)

    def violations(self):
        """All violations of the audit."""
        content, leases = audit.read_registry(self.folder / "registry.db")
        return audit.audit(self.states(), content, leases, self.down, self.degraded)

    def snapshot(self):
        """Everything a refused or predicted verb must leave as it is; generations and the journal aside."""
        content, _leases = audit.read_registry(self.folder / "registry.db")
        kept = {}
        for key, value in content.items():
            if key.startswith("operations/"):
                continue
            kept[key] = {k: v for k, v in value.items() if k != "generation"}
        shown = {}
        for node, state in self.states().items():
            shown[node] = (state.domains, state.drbd, state.windows, state.resources, state.volumes, sorted(state.records))
        return kept, shown

    def forget_console(self, name):
        """Delete what a guest has said: an earlier one of the same name is another."""
        for node in self.nodes:
            self.ssh(node, "rm -f %s*" % self.console(node, name))

    def wait_redundant(self, node, resource, timeout=120):
        """Wait until a node sees both copies of a DRBD resource up to date."""
        loop = "for i in $(seq %d); do drbdadm dstate %s | grep -q UpToDate/UpToDate && exit 0; sleep 1; done; exit 1"
        self.ssh(node, loop % (timeout, resource))

    def watch(self, name):
        """Follow the guest's console on all nodes: see :class:`Watch`."""
        return Watch(self, name)


class Watch:
    """Follows a guest's console on every node at once, each line stamped with the time it came.

    The stamps are made here, by one clock, so a pause of the guest is seen whatever the nodes' clocks say.
    """

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.lines = {node: [] for node in cluster.nodes}
        #: Bytes of each node's console that were read.
        self._read_so_far = {node: 0 for node in cluster.nodes}
        self.numbers = []
        self._readers = {}
        for node in cluster.nodes:
            self._follow(node)

    def _follow(self, node):
        command = [str(ROOT / "script" / "lab"), "--name", self.cluster.name, "ssh", node,
                   "tail -s 0.05 -c +%d -F %s 2>/dev/null" % (self._read_so_far[node] + 1, self.cluster.console(node, self.name))]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   encoding="utf-8", errors="surrogateescape", start_new_session=True)
        reader = threading.Thread(target=self._read, args=(node, process), daemon=True)
        self._readers[node] = (process, reader)
        reader.start()

    def follow_again(self, node):
        """Go on where the node's console was left: its power or its network was gone."""
        self._end(*self._readers[node])
        self._follow(node)

    @staticmethod
    def _end(process, reader):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        reader.join(5)

    def _read(self, node, process):
        for line in process.stdout:
            now = time.time()
            raw = line.encode("utf-8", "surrogateescape")
            self._read_so_far[node] += len(raw)
            self.lines[node].append("%.3f %s" % (now, raw.decode("utf-8", "replace")))
            match = re.match(r"T (\d+) ", line)
            if match:
                self.numbers.append((now, int(match.group(1)), node))

    @property
    def last(self):
        """The highest number seen so far; 0 before the first."""
        return max((number for _when, number, _node in self.numbers), default=0)

    def wait_beyond(self, number, timeout=180):
        """Wait until the guest has said a higher number. :raises TimeoutError: it did not."""
        deadline = time.monotonic() + timeout
        while self.last <= number:
            if time.monotonic() > deadline:
                raise TimeoutError("%s did not count beyond %d within %d s (last: %d)" % (self.name, number, timeout, self.last))
            time.sleep(0.1)
        return self.last

    def longest_pause(self, since=0.0, until=float("inf")):
        """The longest time between two numbers, seconds."""
        times = sorted(when for when, _number, _node in self.numbers if since <= when <= until)
        return max((after - before for before, after in zip(times, times[1:])), default=0.0)

    def save(self, folder):
        """Write the stamped consoles into files; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for node, lines in self.lines.items():
            if lines:
                path = folder / ("console_%s_%s.log" % (self.name, node))
                path.write_text("".join(lines), encoding="utf-8")
                paths.append(path)
        return paths

    def close(self):
        """Stop following."""
        for process, reader in self._readers.values():
            self._end(process, reader)

    def verdict(self, device, node, folder):
        """What the checker says of the guest's disk and of all it said: (fine, text)."""
        image = folder / ("disk_%s.raw" % self.name)
        consoles = self.save(folder)
        if self.cluster.flavours()[node] == "lxc":
            image.write_bytes(self.cluster.read(node, CONTAINER_DISK.format(name=self.name, device=device)))
        else:
            image.write_bytes(self.cluster.disk(node, device))
        words = [sys.executable, str(ROOT / "lab" / "guest" / "check.py"), "check", str(image)]
        for path in consoles:
            words += ["--console", str(path)]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)
        return done.returncode == 0, done.stdout
