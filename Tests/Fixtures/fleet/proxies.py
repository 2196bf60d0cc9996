# SPDX-License-Identifier: Apache-2.0
"""Nodes whose proxy is not nginx: HAProxy and Caddy with the files of `agents/`, as they are but for their paths."""

from node import REPOSITORY, Node, nginx_file
from processes import wait_until


def behind(fleet, proxy):
    """The same kind of fleet with nodes behind another proxy."""
    if proxy == "nginx":
        return fleet
    node = PROXIES[proxy]

    def agent_configuration(self, of):
        return of.agent_configuration(self, fleet.agent_configuration(self, of))

    return type("%sBehind" % fleet.__name__, (fleet,), {"node_type": node, "agent_configuration": agent_configuration})


def changed(text, *changes):
    for old, new in changes:
        if old not in text:
            raise ValueError("there is no %r in the shipped file" % old)
        text = text.replace(old, new)
    return text


class OwnScriptNode(Node):
    """No proxy but nginx puts the browser script into pages: the application's pages carry it themselves."""

    own_script = True


class HAProxyNode(OwnScriptNode):
    """HAProxy serves no files: an nginx that knows nothing of Sluice has the assets, on a socket."""

    def agent_configuration(self, fleet, text):
        return changed(text, ("gate:\n", "gate:\n  haproxy: %s/haproxy.cfg\n" % (self.root / "etc" / "haproxy")))

    def write_nginx_configuration(self):
        shipped = REPOSITORY / "agents" / "haproxy"
        self.folder = self.root / "etc" / "haproxy"
        self.folder.mkdir()
        (self.folder / "sluice.lua").write_text((shipped / "sluice.lua").read_text())
        self.write_script(self.folder)
        (self.folder / "routes").write_text((shipped / "routes").read_text() + "read POST /preview\nopen GET /assets/*\n")
        (self.folder / "haproxy.cfg").write_text(
            self.own() + self.placed(self.with_script((shipped / "sluice.cfg").read_text())) + self.site((shipped / "site.cfg").read_text()))
        (self.root / "etc" / "nginx.conf").write_text(self.files_of_assets())

    def placed(self, text):
        return text.replace("/run/sluice", str(self.run / "sluice")).replace("/etc/haproxy/sluice", str(self.folder)).replace(
            "/srv/guestbook", str(self.app))

    def with_script(self, text):
        return changed(text, ("# setenv SLUICE_SCRIPT", "setenv SLUICE_SCRIPT"))

    def own(self):
        """What a site has in its haproxy.cfg."""
        return """global
    maxconn 5000

defaults site
    mode http
    option httplog
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 90s

"""

    def site(self, text):
        return changed(
            self.placed(text), ("bind 127.0.0.1:80", "bind %s:%d" % (self.address, self.port)),
            ("    log global\n", ""),
            # Only what says X-Accel-Expires is kept; Cache-Control is for browsers.
            ("    http-response cache-store pages\n",
             "    http-response set-header Cache-Control max-age=%[res.hdr(x-accel-expires)] if { res.hdr(x-accel-expires) -m found }\n"
             "    http-response cache-store pages\n"
             "    http-response set-header X-Node " + self.name + "\n"),
            ("    default_backend guestbook\n",
             "    http-response set-header Cache-Control no-cache if { res.hdr(x-accel-expires) -m found }\n"
             "    use_backend assets if { path_beg /assets/ }\n    default_backend guestbook\n"),
        ) + "\nbackend assets from site\n    server files unix@%s\n" % (self.run / "assets.sock")

    def files_of_assets(self):
        return nginx_file(self.root / "nginx", f"""    types {{ text/css css; text/javascript js; }}
    access_log off;
    server {{
        listen unix:{self.run}/assets.sock;
        root {self.app};
        add_header Cache-Control "public, max-age=31536000, immutable";
        add_header X-Node {self.name} always;
    }}
""")

    def start_nginx(self):
        self.processes.start(
            "nginx %s" % self.name,
            ["/usr/sbin/nginx", "-p", self.root / "nginx", "-e", self.root / "nginx" / "error.log",
             "-c", self.root / "etc" / "nginx.conf"],
            self.root / "nginx" / "output.log")
        log = self.root / "haproxy.log"
        process = self.processes.start(
            "haproxy %s" % self.name, ["/usr/sbin/haproxy", "-W", "-db", "-f", self.folder / "haproxy.cfg"], log)
        wait_until("HAProxy of %s listens (log: %s)" % (self.name, log), self._listens, alive=process)


class CaddyNode(OwnScriptNode):
    """Caddy has no cache: a Varnish in front of it has one, and forgets it when its node has flipped."""

    def agent_configuration(self, fleet, text):
        return changed(
            text, ("gate:\n", 'gate:\n  caddy: %s/etc/caddy/Caddyfile\n  probe: ["%s"]\n  probe_at: %s\n' % (self.root, self.url("/_sluice/probe"), self.address)),
            ("    generation: true\n", "    purge: {address: %s:%d, method: BAN, host: \"%s:%d\"}\n" % (
                self.address, self.port, fleet.balancer.address, fleet.balancer.port)))

    def write_nginx_configuration(self):
        self.folder = self.root / "etc" / "caddy"
        self.folder.mkdir()
        self.write_script(self.folder)
        for name in ["sluice.caddy", "Caddyfile"]:
            (self.folder / name).write_text(self.placed((REPOSITORY / "agents" / "caddy" / name).read_text()))
        (self.folder / "routes.caddy").write_text("""@preview {
	method POST
	path /preview
}
vars @preview sluice_kind read
@assets path /assets/*
vars @assets sluice_kind open
""")
        (self.folder / "site.vcl").write_text(self.cache())

    def placed(self, text):
        for old, new in [("/run/sluice", self.run / "sluice"), ("/etc/caddy/sluice", self.folder), ("/srv/guestbook", self.app),
                         ("/var/lib/caddy", self.run), ("bind 127.0.0.1", "bind unix/%s/site.sock" % self.run),
                         ("\t\timport sluice_gate\n", "\t\timport sluice_gate\n\t\theader X-Node %s\n" % self.name)]:
            text = text.replace(old, str(new))
        return text

    def cache(self):
        return f"""vcl 4.1;
include "{REPOSITORY}/agents/caches/sluice.vcl";
backend default {{ .path = "{self.run}/site.sock"; .first_byte_timeout = 60s; }}
sub vcl_backend_response {{
    # Only what says X-Accel-Expires is kept; Cache-Control is for browsers.
    if (!beresp.http.X-Accel-Expires) {{
        set beresp.uncacheable = true;
        return (deliver);
    }}
    set beresp.ttl = std.duration(beresp.http.X-Accel-Expires + "s", 0s);
    set beresp.grace = 0s;
    return (deliver);
}}
sub vcl_deliver {{
    if (obj.hits > 0) {{
        set resp.http.X-Cache = "HIT";
    }}
}}
"""

    def start_nginx(self):
        log = self.root / "caddy.log"
        environment = {"XDG_CONFIG_HOME": str(self.run), "XDG_DATA_HOME": str(self.run), "HOME": str(self.run)}
        self.processes.start(
            "caddy %s" % self.name,
            ["/usr/bin/caddy", "run", "--config", self.folder / "Caddyfile", "--adapter", "caddyfile"], log, environment)
        process = self.processes.start(
            "varnish %s" % self.name,
            ["/usr/sbin/varnishd", "-F", "-j", "none", "-n", self.root / "varnish", "-a", "%s:%d" % (self.address, self.port),
             "-f", self.folder / "site.vcl", "-s", "malloc,16m", "-T", "none", "-p", "pipe_timeout=90"], self.root / "varnish.log")
        wait_until("Caddy of %s answers behind Varnish (log: %s)" % (self.name, log),
                   lambda: self._listens() and self.get("/livez")[0] == 200, alive=process)


PROXIES = {"haproxy": HAProxyNode, "caddy": CaddyNode}
