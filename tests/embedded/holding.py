"""Holds a server in a process of its own, for tests that kill such a process. Run by path, imports no test code.

`holding.py ORDER`, ORDER as JSON: `directory`, and if wanted `binaries`, `options`, `fork`. Prints one line of JSON:
what it holds (and its forked child's pid), or the refusal; leaves when its input ends.
"""

import json
import os
import signal
import sys
from pathlib import Path

from groat_server.embedded import hold
from groat_server.errors import CannotStart

order = json.loads(sys.argv[1])
child = 0
try:
    with hold(
        Path(order["directory"]),
        binaries=Path(order["binaries"]) if "binaries" in order else None,
        options=order.get("options"),
    ) as server:
        if order.get("fork"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            child = os.fork()
            if child == 0:
                signal.sigwait([signal.SIGUSR1])  # then leaves the block, as a forked worker does
                sys.exit(0)
        said = {"url": server.url, "socket_url": server.socket_url, "version": server.version}
        print(json.dumps({**said, "started": server.started, "child": child}), flush=True)  # noqa: T201
        sys.stdin.read()
except CannotStart as refusal:
    print(json.dumps({"refusal": refusal.detail}), flush=True)  # noqa: T201
