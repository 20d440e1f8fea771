# SPDX-License-Identifier: Apache-2.0
"""Where the programs are: built here, or installed."""

import os
import shutil


def add_build_arguments(parser, here):
    parser.add_argument("--build-dir", default=os.path.dirname(here), help="where purser was built")
    parser.add_argument("--purserd", help="another purserd (its plugin directory by --plugin-dir)")
    parser.add_argument("--plugin-dir")


def find_tools(a):
    """Program name -> path, None where it is missing."""
    def built(path):
        full = os.path.join(a.build_dir, path)
        return full if os.access(full, os.X_OK) else None

    def installed(name):
        return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")

    tools = {name: installed(name) for name in ("redis-server", "nutcracker", "memcached", "openssl")}
    tools.update(lg=built("bench/lg"), steps=built("bench/steps"), floor=built("bench/floor"), purserd=a.purserd or built("agent/purserd"))
    tools["plugin-dir"] = a.plugin_dir or (None if a.purserd else os.path.join(a.build_dir, "plugins/.libs"))
    return tools
