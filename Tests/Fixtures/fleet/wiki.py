# SPDX-License-Identifier: Apache-2.0
"""MediaWiki on the fleet: what docs/php.md says, three times."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from balancer import Balancer
from node import FIXTURES, REPOSITORY, Node
from proxies import changed
from sluice import SluiceFleet
from wiki_clients import EDITOR, PASSWORD

HERE = pathlib.Path(__file__).resolve().parent
FIXTURE = FIXTURES / "mediawiki"
# The tables that the two extensions of v2 have.
TABLES = ["abuse_filter", "abuse_filter_action", "abuse_filter_history", "abuse_filter_log", "oathauth_users"]


def make_bundles():
    """Both releases, and the package that they are made of, below one temporary directory."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-wiki."))
    directory.chmod(0o755)
    package = directory / "package"
    subprocess.run([FIXTURE / "make-bundle", "package", package], check=True)
    for release in ["v1", "v2"]:
        subprocess.run([FIXTURE / "make-bundle", release, directory / release, package], check=True)
    shutil.rmtree(package)
    return directory


class WikiNode(Node):
    """A node with php-fpm; its first release is put there by `sluice-agent adopt`."""

    def write_environment(self, database_url):
        shared = self.app / "shared"
        (shared / "images").mkdir(parents=True)
        secrets = shared / "Secrets.php"
        user, _, place = database_url.removeprefix("postgresql://").partition("@")
        name, _, password = user.partition(":")
        host, _, rest = place.partition(":")
        port, _, database = rest.partition("/")
        settings = {"wgDBserver": host, "wgDBport": port, "wgDBname": database, "wgDBuser": name, "wgDBpassword": password,
                    "wgServer": self.fleet.balancer.url("").rstrip("/"), "wgSecretKey": "5ec4e7" * 10, "wgUpgradeKey": "5ec4e7" * 2}
        secrets.write_text("<?php\n" + "".join("$%s = '%s';\n" % pair for pair in settings.items()))
        secrets.chmod(0o640)
        if os.geteuid() == 0:
            # The application's own user reads it.
            shutil.chown(secrets, group="www-data")
        pool = self.root / "etc" / "pool.conf"
        pool.write_text("php_admin_value[memory_limit] = 256M\nphp_admin_value[opcache.memory_consumption] = 64\n")

    def command(self, action):
        script = str(REPOSITORY / "agents" / "start" / "php-fpm")
        return [script, "start", str(self.root / "etc" / "pool.conf")] if action == "start-app" else [script, "stop"]

    def write_nginx_configuration(self):
        super().write_nginx_configuration()
        path = self.root / "etc" / "nginx" / "sluice-http.conf"
        path.write_text(path.read_text().replace("$cookie_sessionid", "$cookie_wiki_session").replace(
            "cookie:sessionid", "cookie:wiki_session"))
        # As long as the plan holds, and a little longer: docs/gate.md.
        server = self.root / "etc" / "nginx" / "sluice-server.conf"
        server.write_text(changed(server.read_text(), ("proxy_read_timeout    120s;", "proxy_read_timeout    310s;")))

    def locations(self):
        return f"""
        root {self.app}/current/files;
        index index.php;
        add_header X-Node {self.name} always;
        location = /livez {{
            auth_request off;
            return 200;
        }}
        location / {{
            try_files $uri /index.php?$query_string;
        }}
        location ~ ^/(index|api|load|health)\\.php$ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
            fastcgi_param DOCUMENT_ROOT $realpath_root;
            fastcgi_param HTTP_X_SLUICE_MODE $sluice_mode;
            fastcgi_pass unix:{self.app}/current/app.sock;
            fastcgi_next_upstream off;
        }}
        location ~ \\.php {{ return 404; }}
"""


class WikiBalancer(Balancer):
    """Waits for as long as the plan holds, and a little longer."""

    reads_tried_for = "299s"

    def site(self):
        return changed(super().site(), ("proxy_read_timeout 150s;", "proxy_read_timeout 330s;"))


class WikiFleet(SluiceFleet):
    """Three nodes on v1 of the wiki; PostgreSQL with a role that owns the wiki's tables and logs in as itself."""

    node_type = WikiNode

    def __init__(self, binaries, bundles, **options):
        super().__init__(binaries, entries=50, **options)
        self.bundles = bundles
        balancer = self.balancer
        self.balancer = WikiBalancer(balancer.address, balancer.port, balancer.root, self.nodes, self.processes)
        for node in self.nodes:
            node.fleet = self

    def bundle(self, release):
        return self.bundles / release

    def example(self):
        # What is proved is that nobody is refused meanwhile, however slow this machine is.
        text = (REPOSITORY / "plans" / "php.yaml").read_text().replace("hold_for: 40s", "hold_for: 5m")
        return text.replace("../Tests/Fixtures/mediawiki/bundle/v2", str(self.bundle("v2")))

    def changed_bundle(self, name, changes):
        """A copy of v2 in which each of these files has other contents; and the example's line of it, for `variant`."""
        copy = self.plans / name
        shutil.copytree(self.bundle("v2"), copy)
        for path, (old, new) in changes.items():
            text = (copy / path).read_text()
            if old not in text:
                raise ValueError("%s has no %r" % (path, old))
            (copy / path).write_text(text.replace(old, new))
        return (str(self.bundle("v2")), str(copy))

    def prepare_database(self):
        """v1 as it was installed once, by its own installer, with some pages and somebody who edits."""
        url = self.postgres.add_site("wiki")
        release = self.directory / "installing"
        shutil.copytree(self.bundle("v1"), release)
        settings = (release / "LocalSettings.php").read_text()
        (release / "LocalSettings.php").unlink()
        self.php(release, "install.php", "--dbtype", "postgres", "--dbserver", "127.0.0.1", "--dbport", self.postgres.port,
                 "--dbname", "wiki", "--dbuser", "wiki", "--dbpass", self.postgres.passwords["wiki"], "--installdbuser", "wiki",
                 "--installdbpass", self.postgres.passwords["wiki"], "--dbschema", "mediawiki", "--pass", PASSWORD, "--confpath",
                 self.directory, "--skins", "Vector", "Wiki", EDITOR)
        (self.directory / "LocalSettings.php").unlink()
        (release / "LocalSettings.php").write_text(settings)
        (release / "Secrets.php").write_text(
            "<?php\n$wgDBserver = '127.0.0.1';\n$wgDBport = '%s';\n$wgDBname = 'wiki';\n$wgDBuser = 'wiki';\n$wgDBpassword = '%s';\n"
            "$wgServer = 'http://wiki.example';\n$wgSecretKey = 'x';\n" % (self.postgres.port, self.postgres.passwords["wiki"]))
        self.php(release, "update.php", "--quick")
        for number in range(1, self.entries + 1):
            pages = self.directory / "pages"
            pages.mkdir(exist_ok=True)
            (pages / ("Page %d.txt" % number)).write_text("Page %d, of [[Page %d]] and ''others''." % (number, number % self.entries + 1))
        self.php(release, "importTextFiles.php", "--overwrite", *sorted((self.directory / "pages").iterdir()))
        shutil.rmtree(release)
        return url

    def php(self, release, script, *arguments):
        result = subprocess.run(
            ["/usr/bin/php", release / "maintenance" / script, *map(str, arguments)], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/bin:/bin", "MW_SKIP_EXTERNAL_DEPENDENCIES": "1"})
        if result.returncode != 0:
            raise RuntimeError("%s failed:\n%s" % (script, result.stdout[-3000:]))

    def first_release(self):
        adopting = [
            (node, subprocess.Popen(
                [self.binaries / "sluice-agent", "adopt", "--config", node.root / "etc" / "agent.yaml", "--release", "v1",
                 "--bundle", self.bundle("v1"), "--action", "start-app"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for node in self.nodes]
        for node, process in adopting:
            output = process.communicate(timeout=900)[0]
            if process.returncode != 0:
                raise RuntimeError("%s: adopt failed:\n%s" % (node.name, output))

    def start_clients(self):
        for kind, rate in [("reader", 4), ("member", 3), ("editor", 2)]:
            self.processes.start(
                "client %s" % kind,
                ["/usr/bin/python3", "-s", "-E", HERE / "wiki_clients.py", kind, "--out", self.notes, "--rate", rate,
                 "--url", self.balancer.url()],
                self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def agent_configuration(self, node):
        account = "    user: www-data\n" if os.geteuid() == 0 else ""
        tool = '"%s", "%s"' % (HERE.parent / "mediawiki" / "bin" / "update", "{release_dir}")
        return f"""{self.agent_places(node)}  shared: [Secrets.php, images]
gate: {{longest_hold: 5m}}
actions:
{self.actions(node, ["start-app", "stop-app"])}  migrate:
    command: [{tool}]
{account}    timeout: 10m
health:
  page:
    socket: "{{socket}}"
    fastcgi: health.php
    path: /health.php
    timeout: 10s
"""
