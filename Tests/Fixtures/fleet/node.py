# SPDX-License-Identifier: Apache-2.0
"""One web node below one directory: its nginx, its guestbook, its agent."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import urllib.error
import urllib.request

from processes import wait_until

FIXTURES = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = FIXTURES.parent.parent
GUESTBOOK = FIXTURES / "guestbook"


ASSETS = "static/assets"
# Asked for once a minute, the mode is told by events or too late; and nobody waits long for a page to be renewed.
SCRIPT_OPTIONS = 'data-every="60" data-every-closed="60" data-renew-within="1"'


def manifest(bundle, release):
    """The manifest of a bundle, as `Sources/Releases` writes it: its SHA-256 names the release."""
    entries = []
    for path in sorted((path for path in bundle.rglob("*") if path.is_file()),
                       key=lambda path: str(path.relative_to(bundle)).encode()):
        kind = "x" if path.stat().st_mode & 0o100 else "f"
        content = path.read_bytes()
        entries.append((kind, hashlib.sha256(content).hexdigest(), len(content), path.relative_to(bundle)))
    lines = ["sluice-bundle 1", "release %s" % release, "assets %s" % ASSETS, "entries %d" % len(entries),
             "size %d" % sum(entry[2] for entry in entries)] + ["%s %s %d %s" % entry for entry in entries]
    return "".join(line + "\n" for line in lines)


def nginx_file(prefix, http):
    """A main file of nginx with one worker, everything of it below `prefix`, which has a directory `temporary`."""
    account = "user root;\n" if os.geteuid() == 0 else ""
    return f"""{account}daemon off;
worker_processes 1;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {prefix}/temporary/body;
    proxy_temp_path {prefix}/temporary/proxy;
    fastcgi_temp_path {prefix}/temporary/fastcgi;
    uwsgi_temp_path {prefix}/temporary/uwsgi;
    scgi_temp_path {prefix}/temporary/scgi;
{http}}}
"""


def name_of(identifier):
    """The release's name: `v1` of `v1.3f786850e387` and `v1.3f786850e387.standby`, `15.8.1` of `15.8.1.3f786850e387`."""
    return identifier.removesuffix(".standby").rpartition(".")[0]


class Node:
    """The layout of a node, the same on a real one with `/` for the root.

    app/releases/<id>/{manifest,files}       a release; its id is its name and the beginning of the manifest's digest
    app/activations/<n>-<id>/{files,app.sock,release}   what can be current
    app/current                              the activation that is served; replacing this one link flips everything
    app/assets                               the hashed assets of the last releases
    run/app/<id>.sock                        where a release listens
    run/sluice                               the agent's sockets, flags and mode.json
    """

    def __init__(self, name, address, port, directory, processes):
        self.name = name
        self.address = address
        self.port = port
        self.root = pathlib.Path(directory)
        self.processes = processes
        self.app = self.root / "app"
        self.run = self.root / "run"
        self.faults = self.root / "faults"
        self.environment_file = self.root / "etc" / "guestbook.env"
        # Those that this harness installed: name to identifier and digest.
        self._installed = {}

    # Whether v2 refuses to start on the schema of v1.
    is_strict = False
    # Whether pages carry the browser script: put in by nginx, or by the application itself.
    has_script = False
    own_script = False

    # What a node is made of

    def create(self, database_url):
        """`database_url`: what the application connects with."""
        for folder in ["etc/nginx", "app/releases", "app/activations", "app/assets", "run/app", "run/sluice", "state",
                       "nginx/cache", "nginx/temporary", "faults"]:
            (self.root / folder).mkdir(parents=True)
        self.write_environment(database_url)
        self.write_nginx_configuration()

    def write_environment(self, database_url):
        self.environment_file.write_text(
            "GUESTBOOK_DSN='%s'\nGUESTBOOK_MODE_FILE='%s'\nGUESTBOOK_FAULTS='%s'\n" % (
                database_url, self.run / "sluice" / "mode.json", self.faults)
            + ("GUESTBOOK_STRICT=1\n" if self.is_strict else "")
            + ("GUESTBOOK_SCRIPT='%s'\n" % SCRIPT_OPTIONS if self.has_script and self.own_script else ""))
        self.environment_file.chmod(0o600)

    def install(self, bundle, release):
        """Puts a release on the node as if Sluice had staged it: files and assets, nothing current, nothing started."""
        text = manifest(bundle, release)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._installed[release] = ("%s.%s" % (release, digest[:12]), digest)
        target = self.app / "releases" / self.identifier(release)
        shutil.copytree(bundle, target / "files")
        for path in (target / "files").rglob("*"):
            if path.is_file():
                path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        (target / "manifest").write_text(text)
        for asset in sorted((target / "files" / ASSETS).iterdir()):
            shutil.copy2(asset, self.app / "assets" / asset.name)

    def identifier(self, release):
        return self._installed[release][0]

    def activate(self, release, generation):
        """Makes a release current by hand: one rename."""
        identifier, digest = self._installed[release]
        activation = self.app / "activations" / ("%d-%s" % (generation, identifier))
        if not activation.exists():
            activation.mkdir()
            (activation / "files").symlink_to("../../releases/%s/files" % identifier)
            (activation / "app.sock").symlink_to(self.socket(release))
            (activation / "release").write_text(
                "sluice-activation 1\ngeneration %d\nrelease %s\nmanifest %s\n" % (generation, release, digest))
        fresh = self.app / ".current.next"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to("activations/%s" % activation.name)
        os.replace(fresh, self.app / "current")

    def active_release(self):
        """The name of the release that is current on disk, or nothing."""
        try:
            return name_of(os.path.basename(os.readlink(self.app / "current")).split("-", 1)[1])
        except OSError:
            return None

    def socket(self, release):
        return self.run / "app" / ("%s.sock" % self.identifier(release))

    # The application

    def start_application(self, release):
        self._action("start-app", self.identifier(release))

    def start_took(self, release):
        """Seconds that the last start of a release took, by the script that started it; nothing when it never did."""
        found = [float(path.read_text()) / 1000 for path in (self.run / "app").glob("*.took")
                 if name_of(path.stem) == release]
        return found[0] if found else None

    def running_applications(self):
        """The releases whose processes live, by their pid files."""
        return [name_of(identifier) for identifier in self._running()]

    def stop_applications(self):
        for identifier in self._running():
            self._action("stop-app", identifier)

    def _running(self):
        running = []
        for pidfile in sorted((self.run / "app").glob("*.pid")):
            try:
                command = pathlib.Path("/proc/%d/cmdline" % int(pidfile.read_text())).read_bytes()
            except (OSError, ValueError):
                continue
            if str(self.run).encode() in command:
                running.append(pidfile.stem.removesuffix(".sock"))
        return running

    def command(self, action):
        """What an action of this node runs."""
        return [str(GUESTBOOK / "bin" / action), str(self.environment_file)]

    def _action(self, name, identifier):
        environment = {
            "SLUICE_RELEASE": identifier, "SLUICE_RELEASE_DIR": str(self.app / "releases" / identifier / "files"),
            "SLUICE_SOCKET": str(self.run / "app" / ("%s.sock" % identifier))}
        result = subprocess.run(
            self.command(name), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        if result.returncode != 0:
            raise RuntimeError("%s: %s %s failed:\n%s" % (self.name, name, identifier, result.stdout.decode()))

    # nginx

    def start_nginx(self):
        # Names the log before the configuration is read, which would otherwise be the distribution's.
        process = self.processes.start(
            "nginx %s" % self.name,
            ["/usr/sbin/nginx", "-p", self.root / "nginx", "-e", self.root / "nginx" / "error.log",
             "-c", self.root / "etc" / "nginx.conf"],
            self.root / "nginx" / "output.log")
        wait_until("nginx of %s listens (log: %s)" % (self.name, self.root / "nginx" / "error.log"),
                   lambda: self._listens(), alive=process)

    def url(self, path="/"):
        return "http://%s:%d%s" % (self.address, self.port, path)

    def get(self, path, timeout=10.0):
        """Status, headers and body of a page of this node, whatever the status."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=timeout) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def mode(self):
        """What the agent wrote for whoever only watches a file."""
        try:
            return json.loads((self.run / "sluice" / "mode.json").read_text())
        except (OSError, ValueError):
            return None

    def gate_is_open(self):
        """No flag of the gate on disk: neither for writes nor for reads."""
        return not any((self.run / "sluice" / flag).exists() for flag in ["read-only", "hold-reads", "out-of-service"])

    def _listens(self):
        try:
            self.get("/livez", timeout=2.0)
            return True
        except OSError:
            return False

    @staticmethod
    def write_script(folder):
        shutil.copy2(REPOSITORY / "agents" / "browser" / "sluice.js", folder / "sluice.js")

    def write_nginx_configuration(self):
        """nginx as a node has it, with the snippets of `agents/nginx` as they are but for their paths."""
        self.write_script(self.root / "etc" / "nginx")
        for snippet in ["sluice-http.conf", "sluice-server.conf", "sluice-routes.conf", "sluice-browser.conf",
                        "sluice-page.conf"]:
            text = (REPOSITORY / "agents" / "nginx" / snippet).read_text()
            text = text.replace("/run/sluice", str(self.run / "sluice"))
            text = text.replace("/etc/nginx/sluice/", "%s/etc/nginx/" % self.root)
            text = text.replace("/srv/guestbook", str(self.app))
            text = text.replace(" defer ", " defer %s " % SCRIPT_OPTIONS)
            if snippet == "sluice-routes.conf":
                text = text.rstrip().removesuffix("}") + '    "~^POST /preview\\z" read;\n}\n'
            (self.root / "etc" / "nginx" / snippet).write_text(text)
        (self.root / "etc" / "nginx.conf").write_text(self.nginx_configuration())

    def nginx_configuration(self):
        return nginx_file(self.root / "nginx", f"""    types {{ text/css css; text/javascript js; }}
    default_type application/octet-stream;
    proxy_cache_path {self.root}/nginx/cache keys_zone=pages:2m max_size=64m;
    include {self.root}/etc/nginx/sluice-http.conf;
    server {{
        listen {self.address}:{self.port};
        include {self.root}/etc/nginx/sluice-server.conf;
        recursive_error_pages on;
        {"include %s/etc/nginx/sluice-browser.conf;" % self.root if self.has_script else ""}
        open_file_cache off;

{self.locations()}
    }}
""")

    def locations(self):
        return f"""
        # Assets have their digest in their name: the pool keeps those of the last releases, and nothing ever changes.
        location /assets/ {{
            auth_request off;
            root {self.app};
            add_header Cache-Control "public, max-age=31536000, immutable";
            add_header X-Node {self.name} always;
        }}

        # Server-sent events of the application: on their way as they come.
        location = /stream {{
            proxy_pass http://unix:{self.app}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            add_header X-Accel-Buffering no always;
            add_header X-Node {self.name} always;
        }}

        location / {{
            # The path behind `current` names the activation: pages of another one are never found again.
            root {self.app}/current;
            proxy_cache pages;
            proxy_cache_key "$realpath_root $request_uri";
            # Only what says X-Accel-Expires is kept; Cache-Control is for browsers.
            proxy_ignore_headers Cache-Control Expires;
            proxy_cache_lock on;
            # Resolved anew at each connection, through the link; no `keepalive`, which would stay with the old release.
            proxy_pass http://unix:{self.app}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
            {"include %s/etc/nginx/sluice-page.conf;" % self.root if self.has_script else ""}
            add_header X-Cache $upstream_cache_status always;
            add_header X-Node {self.name} always;
        }}
"""
