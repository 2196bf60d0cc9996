# SPDX-License-Identifier: Apache-2.0
"""The load balancer in front of the nodes: a plain nginx that knows nothing of Sluice, with `agents/nginx/load-balancer.conf`."""

import pathlib
import urllib.request

from node import REPOSITORY, nginx_file
from processes import wait_until


class Balancer:
    # A second less than the longest `reads.hold_for` of the fleet's plans.
    reads_tried_for = "59s"

    def __init__(self, address, port, directory, nodes, processes):
        self.address = address
        self.port = port
        self.root = pathlib.Path(directory)
        self.nodes = nodes
        self.processes = processes

    def start(self):
        (self.root / "temporary").mkdir(parents=True)
        (self.root / "nginx.conf").write_text(self.configuration())
        process = self.processes.start(
            "load balancer",
            ["/usr/sbin/nginx", "-p", self.root, "-e", self.root / "error.log", "-c", self.root / "nginx.conf"],
            self.root / "output.log")
        wait_until("the load balancer answers (log: %s)" % (self.root / "error.log"), self._answers, alive=process)

    def url(self, path="/"):
        return "http://%s:%d%s" % (self.address, self.port, path)

    def _answers(self):
        try:
            with urllib.request.urlopen(self.url("/livez"), timeout=2.0) as response:
                return response.status == 200
        except OSError:
            return False

    def configuration(self):
        return nginx_file(self.root, "    access_log off;\n" + self.site())

    def site(self):
        """The example as it is but for addresses, the guestbook's route that only reads, and connections that are kept."""
        text = (REPOSITORY / "agents" / "nginx" / "load-balancer.conf").read_text()
        for number, node in enumerate(self.nodes, start=11):
            text = text.replace("127.0.0.%d:80 " % number, "%s:%d " % (node.address, node.port))
        text = text.replace("listen 127.0.0.1:8080;", "listen %s:%d;" % (self.address, self.port))
        text = text.replace("Host            $host;", "Host            $http_host;")
        text = text.replace("    # \"~^POST /api/search\" ", "    \"~^POST /preview\\z\" ")
        text = text.replace("proxy_next_upstream_timeout 29s;", "proxy_next_upstream_timeout %s;" % self.reads_tried_for)
        return text.replace("fail_timeout=5s;\n}", "fail_timeout=5s;\n    keepalive 32;\n}")
