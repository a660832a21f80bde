"""Entrypoint of the operator's image on the embedded node: it listens on the pod's own address only.

There pods share the machine's network, so that what listens on every address, as the operator rightly does
in a real pod, would collide with its other replica, or be taken for it by a probe.
"""

from __future__ import annotations

import os
import sys

from controller.__main__ import main

if __name__ == "__main__":
    os.environ.setdefault("HTTP_HOST", os.environ["DEVCLUSTER_POD_IP"])
    sys.exit(main(sys.argv[1:]))
