"""A driver whose disk is slow and whose clock steps, as a file says: what cannot be brought about from outside.

The system's clock is everybody's, and a disk cannot be slowed down for one process. So `time.time` and `os.fsync` of
the driver are replaced before anything that uses them is imported.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from runpy import run_module

_LOOK_S = 0.2  # between two looks at the file


class Inside:
    """What the file says: by how many seconds the clock is wrong, and how many a write takes until it is safe.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock_s, self.fsync_s = 0.0, 0.0

    def write(self) -> None:
        """Tell drivers."""
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps([self.clock_s, self.fsync_s]), encoding="utf-8")
        partial.replace(self.path)

    def obey(self) -> None:
        """Be a driver that is told."""
        true_time, true_fsync = time.time, os.fsync

        def fsync(file: int) -> None:
            true_fsync(file)
            time.sleep(self.fsync_s)

        time.time = lambda: true_time() + self.clock_s
        os.fsync = fsync  # type: ignore[assignment]
        self._read()
        threading.Thread(target=self._look, daemon=True).start()

    def _read(self) -> None:
        self.clock_s, self.fsync_s = json.loads(self.path.read_text(encoding="utf-8"))

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            self._read()


if __name__ == "__main__":  # `nde-study` with the arguments after the first, which is the file
    Inside(Path(sys.argv.pop(1))).obey()
    run_module("studies.cli", run_name="__main__")
