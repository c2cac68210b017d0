# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to libvirt that cannot hang a module, and its errors in the collection's terms.

libvirt is imported at the first use only: a module that does not reach it does not pay for it, and a node
without the Python binding gets an error that says what to install.
"""

from __future__ import annotations

import atexit
import threading

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError

#: Seconds a connection may take to open. A stopped daemon's socket accepts and then says nothing.
OPEN_TIMEOUT = 60

#: Seconds a single call may take. libvirt itself gives up waiting for a busy domain after 30.
CALL_TIMEOUT = 90

#: Seconds the process waits at its end for daemons to take leave of.
CLOSE_TIMEOUT = 2

#: Open connections; kept here so that none is closed by Python's own tidying.
_open = []

#: libvirt's error names: our short code, and what mends it.
ERRORS = {
    "VIR_ERR_NO_DOMAIN": ("no_domain", None),
    "VIR_ERR_OPERATION_INVALID": ("invalid_now", None),
    "VIR_ERR_XML_ERROR": ("bad_domain_xml", "correct the domain template"),
    "VIR_ERR_XML_DETAIL": ("bad_domain_xml", "correct the domain template"),
    "VIR_ERR_XML_INVALID_SCHEMA": ("bad_domain_xml", "correct the domain template"),
    "VIR_ERR_CONFIG_UNSUPPORTED": (
        "unsupported_config", "compare the instance's parameters with what 'virsh domcapabilities' shows on this node"),
    "VIR_ERR_NO_SUPPORT": ("unsupported_config", "use a newer libvirt on this node"),
    "VIR_ERR_OPERATION_TIMEOUT": ("libvirt_busy", "wait for the domain's job ('virsh domjobinfo') and run the verb again"),
    "VIR_ERR_RESOURCE_BUSY": ("libvirt_busy", "wait for the domain's job ('virsh domjobinfo') and run the verb again"),
    "VIR_ERR_OPERATION_ABORTED": ("aborted", None),
    "VIR_ERR_MIGRATE_UNSAFE": ("unsafe_migration", "give every disk cache='none' in the domain template and restart the guest"),
    "VIR_ERR_AUTH_FAILED": ("libvirt_denied", "run the playbook node_add for this node"),
    "VIR_ERR_AUTH_UNAVAILABLE": ("libvirt_denied", "run the playbook node_add for this node"),
    "VIR_ERR_ACCESS_DENIED": ("libvirt_denied", "run the playbook node_add for this node"),
    "VIR_ERR_OPERATION_DENIED": ("libvirt_denied", "run the playbook node_add for this node"),
    "VIR_ERR_RPC": ("libvirt_lost", "look at 'systemctl status libvirtd' and run the verb again"),
    "VIR_ERR_INVALID_CONN": ("libvirt_lost", "look at 'systemctl status libvirtd' and run the verb again"),
    "VIR_ERR_NO_MEMORY": ("no_memory", "free memory on this node, or place the instance elsewhere"),
}


def library():
    """The libvirt binding.

    :raises GantryError: it is not installed for the Python that runs the modules.
    """
    try:
        import libvirt
    except ImportError as missing:
        raise GantryError(
            "Python's libvirt binding cannot be imported on this node", found=str(missing),
            expected="the package python3-libvirt, for the Python interpreter Ansible uses here",
            mend="run the playbook node_add for this node, or set ansible_python_interpreter", code="no_libvirt_binding",
        ) from missing
    # without a handler of ours libvirt prints each error to standard error as well
    libvirt.registerErrorHandler(_say_nothing, None)
    return libvirt


def _say_nothing(_context, _error):
    """libvirt's errors are raised; nothing needs to be printed."""


def is_error(error, *names):
    """Whether the exception is libvirt's, with one of these ``VIR_ERR_`` names (any, when none is given)."""
    binding = library()
    if not isinstance(error, binding.libvirtError):
        return False
    return not names or error.get_error_code() in [getattr(binding, name) for name in names if hasattr(binding, name)]


def translate(error, what):
    """libvirt's exception as a :class:`GantryError`.

    :param what: what could not be done, a sentence without the final stop.
    """
    code, mend = "libvirt_error", None
    for name, known in ERRORS.items():
        if is_error(error, name):
            code, mend = known
            break
    text = error.get_error_message() or str(error)
    return GantryError(what, found="libvirt: %s" % text, mend=mend, code=code)


def bounded(what, seconds, function, *args):
    """Call a function that may hang inside C, and wait for it so many seconds only.

    The call goes on in a thread that does not keep the process alive: what it achieves is unknown.

    :raises GantryError: it did not answer in time, code ``libvirt_timeout``.
    """
    answer = {}

    def work():
        try:
            answer["value"] = function(*args)
        except BaseException as error:  # pylint: disable=broad-exception-caught
            answer["error"] = error  # raised again below, in the caller's thread

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise GantryError(
            "%s: libvirt gave no answer within %s s" % (what, seconds),
            mend="look at 'systemctl status libvirtd' on that node ('systemctl restart libvirtd' does not stop guests), "
                 "then run the verb again", code="libvirt_timeout",
        )
    if "error" in answer:
        raise answer["error"]
    return answer["value"]


def ask(what, function, *args, **kwargs):
    """A libvirt call with a bound on its time and its error translated.

    :param what: what is being done, for the error: "Domain web1 could not be started".
    :param kwargs: ``seconds``, how long it may take (default :data:`CALL_TIMEOUT`).
    :raises GantryError: see :func:`translate` and :func:`bounded`.
    """
    seconds = kwargs.pop("seconds", CALL_TIMEOUT)
    try:
        return bounded(what, seconds, function, *args)
    except library().libvirtError as error:
        raise translate(error, what) from error


def open_local(hypervisor):
    """A connection to this node's daemon of a hypervisor.

    :raises GantryError: as :func:`open_connection`.
    """
    return open_connection(hypervisor.uri, opener=hypervisor.open)


def open_connection(uri, timeout=OPEN_TIMEOUT, opener=None):
    """A connection to a libvirt daemon.

    :param uri: libvirt's connection URI; also one to another node.
    :param timeout: seconds.
    :param opener: opens it, given the binding, in place of libvirt's own call.
    :raises GantryError: code ``libvirt_unreachable``, whatever the cause.
    """
    binding = library()
    what = "The libvirt daemon at %s cannot be reached" % uri.partition("?")[0]
    try:
        connection = bounded(what, timeout, opener, binding) if opener else bounded(what, timeout, binding.open, uri)
        if not _open:
            atexit.register(_close_all)
        _open.append(connection)
        return connection
    except GantryError as late:
        raise GantryError(what, found="no answer within %s s" % timeout, mend=late.mend, code="libvirt_unreachable") from late
    except binding.libvirtError as error:
        if "://" in uri and not uri.partition("://")[2].startswith("/"):
            mend = "check that node's power, network and libvirtd, and the migration key (playbook node_add)"
        else:
            mend = "look at 'systemctl status libvirtd' and 'journalctl -u libvirtd' on this node"
        raise GantryError(
            what, found="libvirt: %s" % (error.get_error_message() or error), mend=mend, code="libvirt_unreachable",
        ) from error


def let_go(connection):
    """Close a connection without waiting for it. Returns the thread that does it.

    Closing is a call to the daemon like any other, and hangs with it. libvirt also closes when the last object
    of a connection goes, wherever that happens. So the daemon is asked for a sign of life first: where it gives
    none, the thread stays in that call and holds the connection until the process is gone.
    """
    if connection in _open:
        _open.remove(connection)

    def close():
        try:
            connection.getLibVersion()
            connection.close()
        except library().libvirtError:
            pass  # broken already: nothing is left to close

    thread = threading.Thread(target=close, daemon=True)
    thread.start()
    return thread


def _close_all():
    threads = [let_go(connection) for connection in list(_open)]
    for thread in threads:
        thread.join(CLOSE_TIMEOUT)
