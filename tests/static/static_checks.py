# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tools that read the collection without running it, each on a clean copy of what git would commit.

The copy has tracked and new files, without the ignored ones, so a check sees what a user would get. A check is a
function that takes the :class:`Workbench` and returns ``(exit code, output)``.
"""

from __future__ import annotations

import ast
import concurrent.futures
import configparser
import fcntl
import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = pathlib.Path("ansible_collections/gantry/cluster")

#: Seconds after which a tool is taken to hang.
TIMEOUT = 900

#: Node-side plugins run on 3.9 and newer (tests/config.yml), the others on what ansible-core 2.19 runs on.
PLUGIN_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")

#: The sanity tests that take longest get a run of their own; a last run takes all others, so none is left out.
SANITY_ALONE = ("validate-modules", "pylint", "import")

#: A get-pip for ansible-test, which makes an environment for each sanity test: Python's own pip fetches the
#: release asked for from the package index pip is set up for, so nothing else has to be reachable.
GET_PIP = """\
import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap()
# ensurepip turns pip's settings off for its process.
os.environ.pop("PIP_CONFIG_FILE", None)
packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "pip", "install", *packages])
"""

CHECKS = {}


def check(function):
    """Register a check under its function's name, with hyphens."""
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


def project_files():
    """Paths, from the root, of all files that are tracked or new, and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    return sorted({name for name in listed.split("\0") if name and os.path.lexists(ROOT / name)})


class Workbench:
    """Clean copies of the collection and the tools running on them."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gantry-test-"))
        self.files = []
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 2)
        self._answers = {}
        self._processes = set()
        self._lock = threading.Lock()
        self._closed = False
        self._prepared = {}
        #: For all that only reads; a tool that writes into its folder takes a copy of its own.
        self.collection = self.folder / "shared" / COLLECTION
        for path in project_files():
            destination = self.collection / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(ROOT / path, destination, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed while we copy: an editor at work
            self.files.append(path)

    def copy(self, name):
        """A new copy of the collection; the path of its root, which ends in ansible_collections/gantry/cluster."""
        return shutil.copytree(self.collection, self.folder / name / COLLECTION, symlinks=True)

    def environment(self, collection):
        """The tools' environment: this Python's tools first, this copy of the collection, no user's settings."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTEST_"))}
        environment.update(
            PATH="%s:%s" % (pathlib.Path(sys.executable).parent, os.environ["PATH"]),
            ANSIBLE_COLLECTIONS_PATH=str(collection.parents[2]),
            ANSIBLE_LOCAL_TEMP=str(self.folder / "ansible-tmp"),
            ANSIBLE_NOCOLOR="1",
            NO_COLOR="1",
            LC_ALL="C.UTF-8",
        )
        return environment

    def run(self, argv, collection=None, cwd=None, **variables):
        """Run a tool; returns (exit code, its output and errors in one text).

        :param collection: the copy it works on; default the shared one.
        :param cwd: default the copy's root.
        """
        collection = collection or self.collection
        environment = self.environment(collection)
        environment.update(variables)
        with self._lock:
            if self._closed:
                return 1, "not run: the tests were stopped"
            process = subprocess.Popen(
                [str(word) for word in argv], cwd=cwd or collection, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
            )
            self._processes.add(process)
        try:
            output = process.communicate(timeout=TIMEOUT)[0]
            return process.returncode, output
        except subprocess.TimeoutExpired:
            self._end(process)
            return 1, "%s did not end within %d s\n%s" % (argv[0], TIMEOUT, process.communicate()[0])
        finally:
            with self._lock:
                self._processes.discard(process)

    def once(self, name, function):
        """The result of ``function()``, which runs for the first caller only; the others wait for it."""
        with self._lock:
            if name not in self._prepared:
                self._prepared[name] = (threading.Lock(), [])
            lock, result = self._prepared[name]
        with lock:
            if not result:
                result.append(function())
            return result[0]

    def start(self, names):
        """Start the checks named, in the order of :data:`CHECKS`, as many at a time as there are cores."""
        for name, function in CHECKS.items():
            if name in names:
                self._answers[name] = self._pool.submit(self._timed, function)

    def _timed(self, function):
        start = time.monotonic()
        code, output = function(self)
        return code, output, time.monotonic() - start

    def result(self, name):
        """Wait for a check; returns (exit code, output, seconds)."""
        return self._answers[name].result()

    @staticmethod
    def _end(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self):
        """End what still runs and remove the copies."""
        with self._lock:
            self._closed = True
            running = list(self._processes)
        for process in running:
            self._end(process)
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self.folder, ignore_errors=True)


# --- ansible-test sanity -------------------------------------------------------------------------------------------


def sanity_environments_exist():
    """False before the first run on this machine, which takes some minutes longer."""
    return (_sanity_home() / ".ansible/test/venv").is_dir()


def _sanity_home():
    """A home folder for ansible-test, kept between runs: it keeps an environment for each sanity test there."""
    real = pathlib.Path.home()
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or real / ".cache")
    home = cache / "gantry.cluster" / "ansible-test"
    home.mkdir(parents=True, exist_ok=True)
    # What pip fetched once stays in the user's own cache.
    for name in (".cache", ".netrc"):
        if (real / name).exists() and not (home / name).is_symlink():
            (home / name).symlink_to(real / name)
    return home


def _pip_settings(bench):
    """The user's settings of pip as a pip.conf: ansible-test passes on neither the environment nor the home folder."""
    code, output = bench.run([sys.executable, "-m", "pip", "config", "list"])
    if code:
        raise RuntimeError("pip config list: " + output)
    settings = configparser.RawConfigParser()
    settings.add_section("global")
    if os.environ.get("https_proxy"):
        settings.set("global", "proxy", os.environ["https_proxy"])
    # Lines such as global.cert='/path' and, for PIP_CERT, :env:.cert='/path'; the environment has the last word.
    for line in sorted(output.splitlines(), key=lambda line: line.startswith(":env:")):
        found = re.fullmatch(r"(:env:|[a-z]+)\.([a-z-]+)=(.*)", line)
        if found:
            section = found.group(1).replace(":env:", "global")
            if not settings.has_section(section):
                settings.add_section(section)
            value = str(ast.literal_eval(found.group(3)))
            settings.set(section, found.group(2), value.replace("\n", "\n    "))
    text = io.StringIO()
    settings.write(text)
    return text.getvalue()


def _pythons():
    """Pythons of this machine that plugins may meet: {"3.9": path, ...}.

    The one running this, and the oldest and the newest there are: a fresh Debian has one, a pyenv may have all.
    """
    running = "%d.%d" % sys.version_info[:2]
    found = {running: sys.executable}
    folders = os.environ["PATH"].split(os.pathsep)
    for version in PLUGIN_PYTHONS:
        name = "python" + version
        candidates = [pathlib.Path(folder) / name for folder in folders]
        candidates += sorted((pathlib.Path.home() / ".pyenv/versions").glob("%s.*/bin/%s" % (version, name)))
        for candidate in candidates:
            # A name in PATH may be a launcher for a Python that is not there.
            if version not in found and candidate.is_file():
                if subprocess.run([candidate, "-c", "import venv"], check=False, capture_output=True).returncode == 0:
                    found[version] = str(candidate)
    in_order = [version for version in PLUGIN_PYTHONS if version in found]
    return {version: found[version] for version in sorted({in_order[0], running, in_order[-1]}, key=in_order.index)}


def _prime_sanity(bench):
    """Make ansible-test's environments, one process at a time.

    :returns: (exit code, output, environment variables and arguments for every run of ansible-test).
    """
    home = _sanity_home()
    # To make an environment it takes the Python of the version it was told from PATH, whatever path it was told.
    pythons = bench.folder / "pythons"
    pythons.mkdir()
    targets = []
    for version, path in _pythons().items():
        (pythons / ("python" + version)).symlink_to(path)
        targets += ["--target-python", version]
    variables = {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(pathlib.Path(sys.executable).parent), str(pythons), os.environ["PATH"]]),
    }
    # ansible-test asks for get-pip under a name with the release of pip it wants.
    code, version = bench.run([
        sys.executable, "-c",
        "from types import SimpleNamespace\n"
        "from ansible_test._internal.python_requirements import get_venv_packages\n"
        "print(get_venv_packages(SimpleNamespace(version='%d.%d'))['pip'])" % sys.version_info[:2],
    ])
    if code:
        return code, version, variables, targets
    get_pip = home / ".ansible/test/cache" / ("get_pip_%s.py" % version.strip().replace(".", "_"))
    with open(home / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        get_pip.parent.mkdir(parents=True, exist_ok=True)
        get_pip.write_text(GET_PIP, encoding="utf-8")
        # Only while the environments are made: settings may hold a password.
        pip_conf = home / ".config/pip/pip.conf"
        pip_conf.parent.mkdir(parents=True, exist_ok=True)
        pip_conf.touch(mode=0o600)
        pip_conf.write_text(_pip_settings(bench), encoding="utf-8")
        try:
            code, output = bench.run(
                ["ansible-test", "sanity", "--prime-venvs", "--color", "no", *targets],
                bench.copy("sanity-prime"), **variables,
            )
        finally:
            pip_conf.unlink()
    return code, output, variables, targets


def _sanity(bench, name, *arguments):
    code, output, variables, targets = bench.once("sanity environments", lambda: _prime_sanity(bench))
    if code:
        return code, "ansible-test could not make its environments:\n" + output
    collection = bench.copy("sanity-" + name)
    return bench.run(
        ["ansible-test", "sanity", "--color", "no", "--truncate", "0", *targets, *arguments], collection, **variables,
    )


@check
def sanity_pylint_plugins(bench):
    """pylint with ansible-test's own plugins, on plugins/."""
    return _sanity(bench, "pylint-plugins", "--test", "pylint", "plugins/")


@check
def sanity_pylint_others(bench):
    """The same on all but plugins/: halves, because it is by far the slowest."""
    return _sanity(bench, "pylint-others", "--test", "pylint", "--exclude", "plugins/")


@check
def sanity_import(bench):
    """Every plugin can be imported by each Python it may meet."""
    return _sanity(bench, "import", "--test", "import")


@check
def sanity_validate_modules(bench):
    """Documentation and argument specification of each module agree."""
    return _sanity(bench, "validate-modules", "--test", "validate-modules")


@check
def ansible_lint(bench):
    """ansible-lint's production profile."""
    return bench.run(
        ["ansible-lint", "--profile", "production", "--offline", "--strict", "--nocolor", "--format", "pep8"],
        bench.copy("lint"),
    )


@check
def galaxy_importer(bench):
    """What Galaxy and Automation Hub check on the archive that would be published; its warnings count."""
    folder = bench.folder / "galaxy"
    folder.mkdir()
    collection = bench.copy("build")
    code, output = bench.run(["ansible-galaxy", "collection", "build", "--output-path", folder], collection)
    if code:
        return code, output
    (archive,) = folder.glob("*.tar.gz")
    settings = folder / "galaxy-importer.cfg"
    settings.write_text(
        "[galaxy-importer]\n"
        # Its ansible-test needs a container; the sanity checks here are the same tests.
        "run_ansible_test = false\n"
        "run_ansible_lint = true\n"
        "check_required_tags = true\n"
        "require_v1_or_greater = true\n"
        "ansible_local_tmp = %s\n" % (folder / "tmp"),
        encoding="utf-8",
    )
    for unused in range(3):
        code, output = bench.run(
            [sys.executable, "-m", "galaxy_importer.main", archive], collection, cwd=folder,
            GALAXY_IMPORTER_CONFIG=str(settings),
        )
        # It gives ansible-lint three minutes, which on a busy machine says nothing of the collection.
        if "Timeout on call to ansible-lint" not in output:
            break
    if any(line.startswith(("WARNING", "ERROR", "CRITICAL")) for line in output.splitlines()):
        code = code or 1
    return code, output


@check
def sanity_others(bench):
    """All sanity tests that have no run of their own."""
    arguments = [word for name in SANITY_ALONE for word in ("--skip-test", name)]
    return _sanity(bench, "others", *arguments)


@check
def antsibull_docs(bench):
    """Documentation of plugins and roles: markup, links, and references to options that exist."""
    return bench.run(["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."])


@check
def antsibull_changelog(bench):
    """Fragments and changelog."""
    return bench.run(["antsibull-changelog", "lint"])


@check
def playbook_syntax(bench):
    """Every playbook parses, with the roles and modules it names."""
    playbooks = sorted((bench.collection / "playbooks").glob("*.yml"))
    if not playbooks:
        return 1, "no playbook was found in playbooks/"
    return bench.run(["ansible-playbook", "--syntax-check", "--inventory", "localhost,", *playbooks])
