"""A cgroup for a measurement: of version 1 where its CPU controller is there, else of version 2."""

import errno
import os
import pathlib
import time

CPU_PERIOD_US = 100_000
PATIENCE_S = 1.0


def _roots():
    roots = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split(" ", 2)
        point = pathlib.Path(left.split(" ")[4])
        if kind == "cgroup2":
            roots["unified"] = point
        elif kind == "cgroup":
            names = ("cpu", "cpuacct", "memory", "blkio")
            roots.update({option: point for option in options.split(",") if option in names})
    return roots


class Cgroup:
    """Made when it is entered as a context, removed when that is left."""

    def __init__(self, name):
        self.name, self.roots = name, _roots()
        self.is_v1 = "cpu" in self.roots
        self.folders = [root / name for root in dict.fromkeys(self.roots.values())]

    def __enter__(self):
        for folder in self.folders:
            folder.mkdir()
        return self

    def __exit__(self, *_):
        for folder in self.folders:
            self._remove(folder)

    @staticmethod
    def _remove(folder):
        """Whoever was interrupted together with this program may still be on its way out."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return folder.rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _folder(self, controller):
        return self.roots[controller if self.is_v1 else "unified"] / self.name

    def limit_cpu(self, cores):
        quota = int(cores * CPU_PERIOD_US)
        if self.is_v1:
            (self._folder("cpu") / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self._folder("cpu") / "cpu.max").write_text(f"{quota} {CPU_PERIOD_US}")

    def limit_memory(self, size):
        name = "memory.limit_in_bytes" if self.is_v1 else "memory.max"
        (self._folder("memory") / name).write_text(str(size))

    def limit_writes(self, device, rate):
        if self.is_v1:
            (self._folder("blkio") / "blkio.throttle.write_bps_device").write_text(f"{device} {rate}")
        else:
            (self._folder("blkio") / "io.max").write_text(f"{device} wbps={rate}")

    def enter(self):
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def used_seconds(self):
        """CPU time of all that was ever in it."""
        if self.is_v1:
            return int((self._folder("cpuacct") / "cpuacct.usage").read_text()) / 1e9
        lines = dict(line.split() for line in (self._folder("cpuacct") / "cpu.stat").read_text().splitlines())
        return int(lines["usage_usec"]) / 1e6
