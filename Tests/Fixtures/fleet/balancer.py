# SPDX-License-Identifier: Apache-2.0
"""The load balancer in front of the nodes: a plain nginx that knows nothing of Sluice, as `agents/nginx/load-balancer.conf`."""

import os
import pathlib
import urllib.request

from processes import wait_until


class Balancer:
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
        account = "user root;\n" if os.geteuid() == 0 else ""
        servers = "\n".join("        server %s:%d max_fails=2 fail_timeout=5s;" % (node.address, node.port) for node in self.nodes)
        return f"""{account}daemon off;
worker_processes 1;
pid {self.root}/nginx.pid;
error_log {self.root}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {self.root}/temporary/body;
    proxy_temp_path {self.root}/temporary/proxy;
    fastcgi_temp_path {self.root}/temporary/fastcgi;
    uwsgi_temp_path {self.root}/temporary/uwsgi;
    scgi_temp_path {self.root}/temporary/scgi;
    upstream reads {{
{servers}
        keepalive 32;
    }}
    upstream writes {{
{servers}
        keepalive 32;
    }}
    map $request_method $is_write {{ default 1; GET 0; HEAD 0; OPTIONS 0; }}
    server {{
        listen {self.address}:{self.port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        # Longer than a node's admission: a request that is held is not a node that hangs.
        proxy_read_timeout 150s;
        location / {{
            error_page 418 = @write;
            if ($is_write) {{ return 418; }}
            proxy_pass http://reads;
            proxy_next_upstream error timeout http_502 http_503 http_504;
        }}
        # A write that has been sent may have been done: it never goes to a second node.
        location @write {{
            proxy_pass http://writes;
            proxy_next_upstream error timeout;
        }}
    }}
}}
"""
