# SPDX-License-Identifier: Apache-2.0
"""Redmine on the fleet: what docs/rails.md says of an application that somebody else wrote, three times (`Tests/Fixtures/redmine`)."""

import collections

from checker import Claim, acknowledged, notes_of
from node import FIXTURES, REPOSITORY
from package_fleet import Package, PackageFleet, PackageNode, words
from processes import wait_until
from site_clients import PASSWORD, READER

RAILS = "bin/rails"
SEED = """
admin = User.find_by_login("admin")
admin.update!(must_change_passwd: false)
reader = User.new(firstname: "Ada", lastname: "Lovelace", mail: "ada@example.net", language: "en")
reader.login, reader.password, reader.admin = %r, %r, true
reader.save!
project = Project.create!(name: "Readers and writers", identifier: "demo", is_public: true, tracker_ids: Tracker.ids)
(1..%d).each { |n| Issue.create!(project: project, tracker: Tracker.first, author: reader, subject: "Issue #{n}", description: "Of #{n}") }
User.anonymous
"""

REDMINE = Package(
    name="redmine", old="5.0.4", new="6.0.5", assets="public/assets", assets_url="/assets/", kind="redmine",
    install=[[RAILS, "db:migrate"], [RAILS, "redmine:plugins:migrate"],
             [RAILS, "redmine:load_default_data", "REDMINE_LANG=en"], [RAILS, "runner", SEED % (READER, PASSWORD, 50)]],
    ledger="SELECT max(version) FROM schema_migrations WHERE length(version) = 14 UNION ALL"
           " SELECT * FROM (SELECT version FROM schema_migrations WHERE version ~ '-' ORDER BY 1) plugins",
    before=["20220224194639", "1-estimates"], after=["20241103184550", "1-estimates", "2-estimates"],
    tool_says="AddJournalUpdatedOn: migrating",
    health="""  page:
    socket: "{socket}"
    path: /projects
    body_contains: Readers and writers
    timeout: 10s
""", shared=(".env", "files", "log", "tmp"), queue="mail", workers=("web-1",),
    # The last but some; what came before it is committed.
    slow=("db/migrate/20241022095140_*.rb", "  def up\n", """  def up
    unless File.exist?(%(mark)r)
      File.write(%(mark)r + ".new", Process.pid.to_s)
      File.rename(%(mark)r + ".new", %(mark)r)
      sleep %(waits)d
    end
"""), ledger_table="public.schema_migrations")


class RedmineNode(PackageNode):
    def write_environment(self, database_url):
        shared = self.app / "shared"
        for folder in ("log", "tmp"):
            (shared / folder).mkdir(parents=True)
        self.jobs.mkdir()
        for folder in ("files", "mail"):
            (self.root.parent / folder).mkdir(exist_ok=True)
        (shared / "files").symlink_to(self.root.parent / "files")
        environment = shared / ".env"
        environment.write_text("DATABASE_URL=%s\nSECRET_KEY_BASE=%s\nSLUICE_MODE_FILE=%s\nMAIL=%s\n" % (
            database_url, "a secret for the test " * 3, self.run / "sluice" / "mode.json", self.root.parent / "mail"))
        environment.chmod(0o600)

    def command(self, action):
        script = str(REPOSITORY / "agents" / "start" / "puma")
        if action == "start-app":
            return [str(self.timed_start), "/usr/bin/env", "LOG=%s" % (self.root / "app.log"), script, "start"]
        if action == "stop-app":
            return [script, "stop"]
        if self.name not in self.fleet.site.workers:
            return ["/bin/true"]
        return [str(FIXTURES / "rails" / "bin" / action), str(self.jobs), *([] if action == "pause-worker" else [str(self.app)])]

    def write_nginx_configuration(self):
        super().write_nginx_configuration()
        path = self.root / "etc" / "nginx" / "sluice-http.conf"
        path.write_text(path.read_text().replace("$cookie_sessionid", "$cookie__redmine_session").replace(
            "cookie:sessionid", "cookie:_redmine_session"))

    def static_files(self):
        return f"""
        # What has no digest is of the current release; what that does not have, of one before.
        location ~ ^/(assets|images|javascripts|stylesheets|themes)/ {{
            auth_request off;
            root {self.app};
            try_files /current/files/public$uri $uri /assets$uri =404;
            add_header X-Node {self.name} always;
        }}"""


class RedmineFleet(PackageFleet):
    node_type = RedmineNode
    client = "redmine_clients.py"
    rates = [("reader", 1), ("anonymous", 1), ("writer", 1), ("tabs", 0.5), ("mail", 0.5)]

    def client_options(self, kind):
        return ["--mail", self.directory / "mail"] if kind == "mail" else []

    def more_actions(self, node):
        return "".join("  %s:\n    command: %s\n    timeout: 120s\n    repeatable: true\n" % (name, words(node.command(name)))
                       for name in ["pause-worker", "resume-worker"])

    def claims_of_writes(self, lift_ended_at):
        return [*writes(self), *mails(self, lift_ended_at)]


def writes(fleet):
    """Each acknowledged issue once, with its text and its file, and each note once."""
    ledger = acknowledged(fleet.notes)
    issues = collections.Counter(fleet.postgres.query("SELECT subject, description FROM issues"))
    notes = collections.Counter(text for text, in fleet.postgres.query("SELECT notes FROM journals"))
    lost = ["issue " + key for key in ledger["issues"] if (key, "Of " + key) not in issues]
    lost += ["note on " + key for key in ledger["journals"] if "A note on " + key not in notes]
    twice = [subject for (subject, _), number in issues.items() if number > 1]
    twice += [text for text, number in notes.items() if number > 1 and text]
    files = dict(fleet.postgres.query(
        "SELECT i.subject, a.disk_directory || '/' || a.disk_filename FROM attachments a"
        " JOIN issues i ON i.id = a.container_id AND a.container_type = 'Issue'"))
    missing = [key for key in ledger["issues"] if key not in files or key not in (fleet.directory / "files" / files[key]).read_text()]
    number = sum(len(notes) for notes in ledger.values())
    return [Claim("acknowledged writes lost or changed", "%d of %d" % (len(lost), number), "0", not lost and number > 0, lost[:10]),
            Claim("issues and notes stored twice", str(len(twice)), "0", not twice, twice[:10]),
            Claim("acknowledged files lost or changed", "%d of %d" % (len(missing), len(ledger["issues"])), "0",
                  not missing and bool(ledger["issues"]), missing[:10])]


def mails(fleet, lift_ended_at):
    """The worker: each mail has become one issue, and none by the old release after the lift."""
    sent = [note["key"] for note in notes_of(fleet.notes, "mail")]
    try:
        wait_until("every mail is an issue", lambda: not list((fleet.directory / "mail").glob("*.eml")), deadline=600.0)
    except TimeoutError:
        pass
    issues = collections.Counter(subject for subject, in fleet.postgres.query("SELECT subject FROM issues"))
    wrong = ["%s: %d issues" % (key, issues[key]) for key in sent if issues[key] != 1]
    said = [line.split() for line in (fleet.nodes[0].jobs / "worker.log").read_text().splitlines()]
    done = collections.Counter(line[0] for line in said if len(line) == 3 and line[0] in (fleet.site.old, fleet.site.new))
    late = [line for line in said if len(line) == 3 and line[0] == fleet.site.old and float(line[1]) > lift_ended_at]
    return [Claim("mails that did not become one issue each", "%d of %d" % (len(wrong), len(sent)), "0", not wrong and bool(sent), wrong[:10]),
            Claim("mails taken by the old release's worker after the lift",
                  "%d (taken: %s)" % (len(late), ", ".join("%s %d" % pair for pair in sorted(done.items()))), "0",
                  not late and len(done) == 2, late[:5])]
