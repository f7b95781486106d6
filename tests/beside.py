"""Run a command while a longer one runs, and show what it printed in one piece when it ends.

    python tests/beside.py "make types" "make unit"

The exit status is that of the longer command; where that is 0, the status of the other. What a command
that failed printed comes again at the end, where it is looked for.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO


def main() -> int:
    """Run the two commands that the command line names."""
    [beside, longer] = map(shlex.split, sys.argv[1:])
    with tempfile.TemporaryFile() as log:
        # Ctrl-C reaches only what has the terminal, so all that it starts is ended by its group.
        first = subprocess.Popen(
            beside, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        shown = threading.Thread(target=_show_when_ended, args=(first, log), daemon=True)
        shown.start()
        try:
            status = subprocess.run(longer, check=False).returncode
            shown.join()
        finally:
            if first.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(first.pid, signal.SIGTERM)
                first.wait()
        if first.returncode:
            _show(log)
            print(f"{sys.argv[1]} failed with {first.returncode}", flush=True)
        return status or first.returncode


def _show_when_ended(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    process.wait()
    _show(log)


def _show(log: IO[bytes]) -> None:
    log.seek(0)
    sys.stdout.buffer.write(b"\n" + log.read())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
