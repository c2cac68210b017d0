# Copyright (c) 2026 The gantry.cluster team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry: what no single node can know, behind one URL.

``open_registry("sqlite:////var/lib/gantry/registry.db")`` returns a :class:`base.Registry`. The URL's scheme
is the name of the module beside this one that holds the backend, as a class named ``Backend``.
"""

from __future__ import annotations

import importlib
import pathlib
import re

from ansible_collections.gantry.cluster.plugins.module_utils.errors import GantryError
from ansible_collections.gantry.cluster.plugins.plugin_utils.registry.base import Registry, hide_password

#: Modules of this package that are not backends.
_NO_BACKENDS = ("__init__", "base")

_SCHEME = re.compile(r"^([a-z][a-z0-9]*)://")


def backends() -> list:
    """The schemes that can be opened, sorted."""
    modules = pathlib.Path(__file__).parent.glob("*.py")
    return sorted(module.stem for module in modules if module.stem not in _NO_BACKENDS)


def open_registry(url: str, create: bool = False) -> Registry:
    """Open the registry behind a URL; close it, or use it in a ``with`` block.

    :param url: ``sqlite:////absolute/path``, or another scheme of :func:`backends`.
    :param create: make the registry when it does not exist yet; otherwise that is refused.
    :raises GantryError: ``bad_registry_url``, ``no_registry`` (it does not exist), or the backend's own reason.
        A password in the URL is never shown.
    """
    known = backends()
    scheme = _SCHEME.match(url) if isinstance(url, str) else None
    if scheme is None or scheme.group(1) not in known:
        raise GantryError(
            "The registry URL cannot be used",
            found=repr(hide_password(url)) if isinstance(url, str) else "%r, not text" % (url,),
            expected="a URL that begins with " + " or ".join("%s://" % name for name in known),
            mend="set gantry_registry, for example to sqlite:////var/lib/gantry/registry.db",
            code="bad_registry_url",
        )
    module = importlib.import_module("%s.%s" % (__name__, scheme.group(1)))
    return module.Backend.open(str(url), create)
