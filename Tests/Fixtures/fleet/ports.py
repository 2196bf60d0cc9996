# SPDX-License-Identifier: Apache-2.0
"""Free ports on loopback, so that several fleets can live on one machine at once."""

import random
import socket

NODES = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
BALANCER = "127.0.0.10"
COORDINATOR = "127.0.0.1"

# Below the range that the kernel hands out by itself.
FIRST, LAST = 20000, 32000


class Ports:
    """Ports that are free on every address of a fleet.

    An abstract socket named after the port is the lock between fleets: the kernel drops it when the process ends.
    """

    def __init__(self):
        self._locks = []

    def take(self):
        for _ in range(500):
            port = random.randrange(FIRST, LAST)
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind("\0sluice-fleet-port-%d" % port)
            except OSError:
                lock.close()
                continue
            if all(_is_free(address, port) for address in [*NODES, BALANCER, COORDINATOR]):
                self._locks.append(lock)
                return port
            lock.close()
        raise RuntimeError("no port is free on every address of the fleet in %d to %d" % (FIRST, LAST))


def _is_free(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
