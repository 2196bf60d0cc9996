# SPDX-License-Identifier: Apache-2.0
"""The processes that a fleet started: each by name, each by its recorded pid, all of them ended in the end."""

import concurrent.futures
import ctypes
import os
import signal
import subprocess
import time

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Processes:
    def __init__(self):
        self._running = {}
        self._end_with = {}

    def start(self, name, command, log, environment=None, user=None, directory=None, end_with=signal.SIGTERM):
        """Starts a command in its own session; it is told to end when this process dies, however that happens.

        Only the main thread may start one: the kernel takes the end of the thread that started it for the end of us.
        """
        options = {}
        self._end_with[name] = end_with

        def die_with_parent():
            _libc.prctl(_PR_SET_PDEATHSIG, end_with, 0, 0, 0)

        if user and os.geteuid() == 0:
            options = {"user": user, "group": user, "extra_groups": []}
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=directory, start_new_session=True, preexec_fn=die_with_parent, **options)
        self._running[name] = process
        return process

    def __getitem__(self, name):
        return self._running[name]

    def __contains__(self, name):
        return name in self._running

    def is_running(self, name):
        return name in self._running and self._running[name].poll() is None

    def names(self):
        return list(self._running)

    def send(self, name, number):
        """Signals a process that still runs: until `poll` has reaped it, its pid cannot belong to another."""
        process = self._running[name]
        if process.poll() is None:
            process.send_signal(number)

    def stop(self, name, patience=10.0):
        process = self._running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(self._end_with[name])
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait(self, name, patience):
        """Waits for a process that was told to end, and returns its exit code."""
        process = self._running.pop(name)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def kill(self, name):
        """kill -9, and wait until it is gone."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop_all(self):
        """All are told to end, in reverse order of their start, before the first is waited for."""
        names = list(reversed(self.names()))
        for name in names:
            self.send(name, self._end_with[name])
        for name in names:
            self.wait(name, patience=10.0)


def side_by_side(action, values):
    """Does it for each value in a thread of its own. Not for `Processes.start`, whose process would end with its thread."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(action, values))


def wait_until(what, condition, deadline=30.0, every=0.05, alive=None):
    """Polls until the condition holds; says what was waited for when it does not, or when a process died meanwhile."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if alive is not None and alive.poll() is not None:
            raise RuntimeError("%s: the process ended with %s" % (what, alive.returncode))
        if time.monotonic() > end:
            raise TimeoutError("%s: not so after %.0f s" % (what, deadline))
        time.sleep(every)


def memory_megabytes(pid):
    """What the process has of its own, and all that is resident, the pages of programs and libraries among it.

    How many of those pages are mapped is the kernel's business: with large folios (6.16 and later on ext4) one touch maps up to
    2 MB of what is cached anyway, so that the same program is resident with 18 MB here and with 31 MB there.
    """
    with open("/proc/%d/status" % pid) as status:
        sizes = {name: int(value.split()[0]) / 1024
                 for name, value in (line.split(":", 1) for line in status) if name in ("VmRSS", "RssAnon", "RssShmem")}
    return sizes["RssAnon"] + sizes["RssShmem"], sizes["VmRSS"]


def processor_seconds(pid):
    """What the process has used, by its own clock (clock_getcpuclockid(3)): ticks are too coarse for an idle agent."""
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error != 0:
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)
