# SPDX-License-Identifier: Apache-2.0
"""A fleet with an application that somebody else wrote, as docs/packages.md says: MLflow (`Tests/Fixtures/mlflow`); `redmine.py` is another."""

import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.request

import package_checker
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
    # Whose script of `agents/migrate`, and the table that it notes its transactions in.
    kind: str = "alembic"
    ledger_table: str = "public.alembic_version"
    # Where its worker finds what is to be done, if it has one, and the nodes that have such a worker.
    queue: str | None = None
    workers: tuple = ()
    # A migration near the end, what is replaced in it, and by what: it says as `mark` which process it is, and waits.
    slow: tuple = ()

    # What a `Site` has, and these have not.
    has_cron, has_admin, has_editors, has_files, environment = False, False, False, False, ""

    @property
    def fixture(self):
        return FIXTURES / self.name

    @property
    def plan(self):
        return self.fixture / "plan.yaml"

    @property
    def routes(self):
        return [line.strip() for line in (self.fixture / "routes").read_text().splitlines()]


MLFLOW = Package(
    name="mlflow", old="2.22.4", new="3.4.0", assets="venv/lib/python3.11/site-packages/mlflow/server/js/build/static",
    assets_url="/static-files/static/",
    # Its first start makes the tables; once is enough for three nodes.
    install=[[PYTHON, "-c", "import os\nfrom mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore\n"
                           "store = SqlAlchemyStore(os.environ['DATABASE_URL'], 'mlflow-artifacts:/')\n"
                           "store.create_experiment('readers and writers')"]],
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
""",
    slow=("venv/lib/python3*/site-packages/mlflow/store/db_migrations/versions/de4033877273_*.py", "def upgrade():\n", """def upgrade():
    import os, pathlib, time
    mark = pathlib.Path(%(mark)r)
    # Not where it is only asked for its SQL.
    if not mark.exists() and not op.get_context().as_sql:
        mark.with_suffix(".new").write_text(str(os.getpid()))
        mark.with_suffix(".new").rename(mark)
        time.sleep(%(waits)d)
"""))


def make_bundles(package):
    """Both releases below one temporary directory; what comes from PyPI is kept below the user's cache."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-package."))
    directory.chmod(0o755)
    environments = virtual_environment(package)
    for release in (package.old, package.new):
        subprocess.run([package.fixture / "make-bundle", release, directory / release, environments], check=True, stdout=subprocess.DEVNULL)
    return directory


class PackageNode(SiteNode):
    timed_start = HERE / "timed-start"

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
            return [str(self.timed_start), "/usr/bin/env", "LOG=%s" % (self.root / "app.log"), program, "start", "bin/serve"]
        if action == "stop-app":
            return [program, "stop"]
        return super().command(action)

    def static_files(self):
        url = self.fleet.site.assets_url
        return f"""
        # Of all releases, by their digests; what the old release gave comes from there as well.
        location {url} {{
            auth_request off;
            root {self.app};
            rewrite ^{url}(.*)$ /$1 break;
            try_files /assets$uri =404;
            add_header X-Node {self.name} always;
        }}"""

    def locations(self):
        return f"""{self.static_files()}
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
        reads = "\n".join("    " + route.replace(" read;", " 0;") for route in self.routes if route.endswith(" read;"))
        text = "\n".join(line for line in super().site().splitlines() if not re.match(r" +server 127\.0\.0\.1\d:80 ", line)) + "\n"
        text = changed(text, ("proxy_read_timeout 150s;", "proxy_read_timeout 330s;"))
        return text.replace('    "~^POST /preview\\z"          0;     # POST that only reads', reads)


class PackageFleet(SiteFleet):
    """Three nodes on the old release; PostgreSQL with a role that owns the tables and logs in as itself."""

    node_type = PackageNode
    # Its clients, and how much of each kind they do in a second.
    client = "package_clients.py"
    rates = [("reader", 6), ("writer", 3), ("tabs", 1)]

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
        url = self.postgres.add_site(self.site.name)
        for command in self.site.install:
            result = subprocess.run(
                command, cwd=self.bundle(self.site.old), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**ENVIRONMENT, "DATABASE_URL": url, "SECRET_KEY_BASE": "of the installation", "HOME": str(self.directory)})
            if result.returncode != 0:
                raise RuntimeError("%s could not be installed:\n%s" % (self.site.name, result.stdout))
        return url

    def first_release(self):
        # Hundreds of megabytes each, on one disk.
        self.adopt(self.site.old, patience=900)

    def start_clients(self, stragglers=False):
        for kind, rate in self.rates:
            self.processes.start(
                "client %s" % kind,
                ["/usr/bin/python3", "-s", "-E", HERE / self.client, kind, "--out", self.notes, "--rate", rate,
                 "--url", self.balancer.url(), *self.client_options(kind)],
                self.directory / ("%s.log" % kind), {"PATH": os.environ["PATH"]})

    def client_options(self, kind):
        return []

    def more_actions(self, node):
        """Lines of agent.yaml."""
        return ""

    def claims_of_writes(self, lift_ended_at):
        """What was acknowledged, compared with the database."""
        return package_checker.writes(self)

    def agent_configuration(self, node):
        script = REPOSITORY / "agents" / "migrate" / self.site.kind
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
{self.more_actions(node)}health:
{self.site.health}"""


def words(command):
    return "[%s]" % ", ".join('"%s"' % word for word in command)
