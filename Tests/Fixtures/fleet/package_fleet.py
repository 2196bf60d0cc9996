# SPDX-License-Identifier: Apache-2.0
"""A fleet with an application from PyPI that somebody else wrote, as docs/packages.md says; so far MLflow (`Tests/Fixtures/mlflow`)."""

import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.request

from balancer import Balancer
from node import FIXTURES, REPOSITORY
from proxies import changed
from site_applications import virtual_environment
from sites import ENVIRONMENT, SiteFleet, SiteNode

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "venv/bin/python"


@dataclasses.dataclass
class Package:
    """What differs between the applications. Each has `make-bundle`, `plan.yaml` and `routes` in its directory."""

    name: str
    old: str
    new: str
    assets: str
    # Where browsers have the assets.
    assets_url: str
    # What was run once with the old release, when it was installed.
    install: list
    ledger: str
    before: list
    after: list
    tool_says: str
    # Checks of agent.yaml: a page that reads the database, and one that says the version.
    health: str
    # Of all nodes together: what people upload.
    shared: tuple = (".env", "artifacts")

    # What a `Site` has, and these have not.
    queue, has_cron, has_admin, has_editors, has_files, environment = None, False, False, False, False, ""
    workers = ()

    @property
    def fixture(self):
        return FIXTURES / self.name

    @property
    def plan(self):
        return self.fixture / "plan.yaml"

    # Whose script of `agents/migrate`.
    kind = "alembic"

    @property
    def routes(self):
        return [line.strip() for line in (self.fixture / "routes").read_text().splitlines()]


MLFLOW = Package(
    name="mlflow", old="2.22.4", new="3.4.0", assets="venv/lib/python3.11/site-packages/mlflow/server/js/build/static",
    assets_url="/static-files/static/",
    # Its first start makes the tables; once is enough for three nodes.
    install=[PYTHON, "-c", "import os\nfrom mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore\n"
                           "store = SqlAlchemyStore(os.environ['DATABASE_URL'], 'mlflow-artifacts:/')\n"
                           "store.create_experiment('readers and writers')"],
    ledger="SELECT version_num FROM alembic_version", before=["0584bdc529eb"], after=["71994744cf8e"],
    tool_says="Running upgrade 0584bdc529eb -> 400f98739977, add logged model tables",
    health="""  page:
    socket: "{socket}"
    path: /api/2.0/mlflow/experiments/get?experiment_id=1
    header: {ignore: true}
    body_contains: readers and writers
    timeout: 10s
  version:
    socket: "{socket}"
    path: /version
    header: {ignore: true}
    body_contains: "{release}"
    timeout: 10s
""")
PACKAGES = {package.name: package for package in [MLFLOW]}


def make_bundles(package):
    """Both releases below one temporary directory; what comes from PyPI is kept below the user's cache."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-package."))
    directory.chmod(0o755)
    environments = virtual_environment(package)
    for release in (package.old, package.new):
        subprocess.run([package.fixture / "make-bundle", release, directory / release, environments], check=True, stdout=subprocess.DEVNULL)
    return directory


class PackageNode(SiteNode):
    def write_environment(self, database_url):
        shared = self.app / "shared"
        shared.mkdir()
        self.jobs.mkdir()
        artifacts = self.root.parent / "artifacts"
        artifacts.mkdir(exist_ok=True)
        (shared / "artifacts").symlink_to(artifacts)
        environment = shared / ".env"
        environment.write_text("DATABASE_URL=%s\nWORKERS=%d\n" % (database_url, self.fleet.workers))
        environment.chmod(0o600)

    def write_nginx_configuration(self):
        super().write_nginx_configuration()
        # As long as the plan holds, and a little longer: docs/gate.md.
        server = self.root / "etc" / "nginx" / "sluice-server.conf"
        server.write_text(changed(server.read_text(), ("proxy_read_timeout    120s;", "proxy_read_timeout    310s;")))

    def command(self, action):
        program = str(REPOSITORY / "agents" / "start" / "program")
        if action == "start-app":
            return [str(HERE / "timed-start"), "/usr/bin/env", "LOG=%s" % (self.root / "app.log"), program, "start", "bin/serve"]
        if action == "stop-app":
            return [program, "stop"]
        return super().command(action)

    def locations(self):
        package = self.fleet.site
        return f"""
        # Of all releases, by their digests; what the old release gave comes from there as well.
        location {package.assets_url} {{
            auth_request off;
            root {self.app};
            rewrite ^{package.assets_url}(.*)$ /$1 break;
            try_files /assets$uri =404;
            add_header X-Node {self.name} always;
        }}
        location / {{
            root {self.app}/current;
            proxy_pass http://unix:{self.app}/current/app.sock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Sluice-Mode $sluice_mode;
            proxy_next_upstream off;
            proxy_read_timeout 150s;
            client_max_body_size 20m;
            add_header X-Node {self.name} always;
            add_header X-Activation $sluice_activation always;
        }}
"""


class PackageBalancer(Balancer):
    """Tries on another node whatever only reads, `POST` or not."""

    routes = ()
    reads_tried_for = "299s"

    def _answers(self):
        try:
            with urllib.request.urlopen(self.url("/_sluice/health"), timeout=10.0) as response:
                return response.status == 200
        except OSError:
            return False

    def site(self):
        reads = "\n".join("    " + route.replace(" read;", " 0;") for route in self.routes if not route.startswith("#"))
        text = "\n".join(line for line in super().site().splitlines() if not re.match(r" +server 127\.0\.0\.1\d:80 ", line)) + "\n"
        text = changed(text, ("proxy_read_timeout 150s;", "proxy_read_timeout 330s;"))
        return text.replace('    "~^POST /preview\\z"          0;     # POST that only reads', reads)


class PackageFleet(SiteFleet):
    """Three nodes on the old release; PostgreSQL with a role that owns the tables and logs in as itself."""

    node_type = PackageNode

    def __init__(self, binaries, package, bundles, workers=1, **options):
        super().__init__(binaries, package, bundles, tool=True, **options)
        self.workers = workers
        balancer = self.balancer
        self.balancer = PackageBalancer(balancer.address, balancer.port, balancer.root, self.nodes, self.processes)
        self.balancer.routes = package.routes
        # Lines of the plan from now on, besides the example's.
        self.more_plan = ""

    def example(self):
        return self.site.plan.read_text().replace("BUNDLE", str(self.bundle(self.site.new))) + self.more_plan

    def prepare_database(self):
        url = self.postgres.add_site("tracker")
        result = subprocess.run(
            self.site.install, cwd=self.bundle(self.site.old), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**ENVIRONMENT, "DATABASE_URL": url, "HOME": str(self.directory)})
        if result.returncode != 0:
            raise RuntimeError("%s could not be installed:\n%s" % (self.site.name, result.stdout))
        return url

    def first_release(self):
        # Hundreds of megabytes each, on one disk.
        self.adopt(self.site.old, patience=900)

    def start_clients(self, stragglers=False):
        for kind, rate in [("reader", 6), ("writer", 3), ("tabs", 1)]:
            self.processes.start(
                "client %s" % kind,
                ["/usr/bin/python3", "-s", "-E", HERE / "package_clients.py", kind, "--out", self.notes, "--rate", rate,
                 "--url", self.balancer.url()],
                self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def agent_configuration(self, node):
        script = REPOSITORY / "agents" / "migrate" / "alembic"
        return f"""{self.agent_places(node)}  shared: [{", ".join(self.site.shared)}]
gate: {{longest_hold: 5m}}
actions:
  start-app:
    command: {words(node.command("start-app"))}
    timeout: 600s
    repeatable: true
  stop-app:
    command: {words(node.command("stop-app"))}
    timeout: 60s
    repeatable: true
  migrate:
    command: ["{script}", forward, "{{release_dir}}"]
    timeout: 600s
    probe: ["{script}", done, "{{release_dir}}"]
  migrate-back:
    command: ["{script}", back, "{{release_dir}}"]
    timeout: 600s
  migrate-preview:
    command: ["{script}", preview, "{{release_dir}}", back]
    timeout: 600s
  smoke-test:
    command: [/usr/bin/test, "!", -e, "{node.faults}/smoke-test"]
    repeatable: true
health:
{self.site.health}"""


def words(command):
    return "[%s]" % ", ".join('"%s"' % word for word in command)
