# SPDX-License-Identifier: Apache-2.0
"""The actions that run an application's own migrations, each with the smallest application of its kind on a database of its own.

`scripts/test-adapters migrate` gives PGHOST, PGPORT and PGUSER.
"""

import os
import pathlib
import subprocess
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parent.parent
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class MigrateTests(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.release = pathlib.Path(self.directory.name)
        self.database = ("migrate_%s" % self._testMethodName.lower())[:63]
        self.psql("CREATE DATABASE %s" % self.database, database="postgres")

    def psql(self, statement, database=None):
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database or self.database, "-c", statement]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()

    def write(self, files):
        for name, text in files.items():
            path = self.release / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)

    def run_action(self, kind, verb, *more, before="", added="", options=""):
        """As the agent runs it. Returns the exit status."""
        environment = {
            **{name: value for name, value in os.environ.items() if name.startswith("PG")}, "PATH": PATH, "LANG": "C.UTF-8",
            "PGDATABASE": self.database, "HOME": self.directory.name, "SLUICE_LEDGER_BEFORE": before, "SLUICE_LEDGER_ADDED": added,
            "PGOPTIONS": options}
        done = subprocess.run([SCRIPTS / kind, verb, self.release, *more], env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.output = done.stdout
        return done.returncode

    def columns(self):
        return self.psql("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('public.book') AND attnum > 0"
                         " AND NOT attisdropped ORDER BY attnum")

    def check(self, kind, ledger, first, second):
        """Forward, back to nothing; forward again and back to the first, as it was when only that one was applied."""
        added = "\n".join([first, second])
        self.assertNotEqual(self.run_action(kind, "done"), 0)
        self.assertEqual(self.run_action(kind, "forward"), 0, self.output)
        self.assertEqual(self.run_action(kind, "done"), 0, self.output)
        self.assertEqual(self.columns(), ["id", "author", "slug"])
        self.assertEqual(self.run_action(kind, "back", before=first, added=second), 0, self.output)
        self.assertEqual(self.columns(), ["id", "author"])
        self.assertNotEqual(self.run_action(kind, "done"), 0)
        self.assertEqual(self.run_action(kind, "forward"), 0, self.output)
        self.assertEqual(self.run_action(kind, "back", added=added), 0, self.output)
        self.assertEqual(self.columns(), [])
        self.assertEqual(self.psql(ledger), [])

    def preview(self, kind, *expected):
        """What it would do, in sessions that are read only, and nothing is done. Returns its output."""
        before = self.columns()
        self.assertEqual(self.run_action(kind, "preview", options="-c default_transaction_read_only=on"), 0, self.output)
        for text in expected:
            self.assertIn(text, self.output)
        self.assertEqual(self.columns(), before)
        return self.output

    def parts(self, kind, ledger, verbs, added, columns):
        """In parts, each of which leaves what is for later; then back what the first part has added."""
        for verb, expected in zip(verbs, columns):
            self.assertEqual(self.run_action(kind, *verb), 0, self.output)
            self.assertEqual(self.columns(), expected, self.output)
            if verb is verbs[0]:
                first = self.psql(ledger)
                self.assertEqual(self.run_action(kind, "back", added="\n".join(added)), 0, self.output)
                self.assertEqual(self.psql(ledger), [])
                self.assertEqual(self.run_action(kind, *verb), 0, self.output)
                self.assertEqual(self.psql(ledger), first)
        self.assertEqual(self.run_action(kind, "done"), 0, self.output)

    def test_django(self):
        self.write({
            "manage.py": "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
                         "from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
            "settings.py": "import os\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['shelf']\nDEFAULT_AUTO_FIELD = 'django.db.models.AutoField'\n"
                           "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': os.environ['PGDATABASE']}}\n",
            "shelf/__init__.py": "", "shelf/migrations/__init__.py": "",
            "shelf/models.py": "",
            "shelf/migrations/0001_book.py": DJANGO % ("[]", "migrations.CreateModel('Book', [('id', models.AutoField(primary_key=True)),"
                                                       " ('author', models.TextField())], options={'db_table': 'book'})"),
            "shelf/migrations/0002_slug.py": DJANGO % ("[('shelf', '0001_book')]",
                                                       "migrations.AddField('Book', 'slug', models.TextField(default=''))")})
        self.preview("django", 'ADD COLUMN "slug" text', "-- shelf.0002_slug", 'CREATE TABLE "book"')
        ledger = "SELECT name FROM django_migrations WHERE app = 'shelf'"
        self.check("django", ledger, "shelf.0001_book", "shelf.0002_slug")
        # By what each migration says of itself: 0001 early, 0002 with 0003 in the window, 0004 late and 0005 after it.
        self.write({
            "shelf/migrations/0001_book.py": "%s    sluice = 'expand'\n" % (self.release / "shelf/migrations/0001_book.py").read_text(),
            "shelf/migrations/0003_shelf.py": DJANGO % ("[('shelf', '0002_slug')]", DJANGO_FIELD % "shelf"),
            "shelf/migrations/0004_late.py": (DJANGO % ("[('shelf', '0003_shelf')]", DJANGO_FIELD % "late")) + "    sluice = 'contract'\n",
            "shelf/migrations/0005_last.py": DJANGO % ("[('shelf', '0004_late')]", DJANGO_FIELD % "last")})
        self.parts("django", ledger, [["expand"], ["switch"], ["forward"]], ["shelf.0001_book"],
                   [["id", "author"], ["id", "author", "slug", "shelf"], ["id", "author", "slug", "shelf", "late", "last"]])
        # By app: the whole app early, or left for later.
        everything = "\n".join(self.psql("SELECT app || '.' || name FROM django_migrations WHERE app = 'shelf' ORDER BY id"))
        self.assertEqual(self.run_action("django", "back", added=everything), 0, self.output)
        self.assertEqual(self.run_action("django", "switch", "shelf"), 0, self.output)
        self.assertEqual(self.columns(), [])
        self.assertEqual(self.run_action("django", "expand", "shelf"), 0, self.output)
        self.assertEqual(self.run_action("django", "done"), 0, self.output)
        self.assertNotIn("ALTER TABLE", self.preview("django"))
        # What cannot be taken back is said before, and refused where the plan has a way back.
        self.write({"shelf/migrations/0006_mail.py": DJANGO % ("[('shelf', '0005_last')]", "migrations.RunPython(lambda apps, _: None)")})
        self.preview("django", "-- no way back: shelf.0006_mail")
        self.assertEqual(self.run_action("django", "preview", "back"), 1, self.output)
        self.assertIn("these have none: shelf.0006_mail", self.output)

    def test_django_goes_back_over_what_was_added_only(self):
        """Wagtail squashes, and so do many: such a migration is noted once all that it replaces are there, after the last of them."""
        self.write({
            "manage.py": "import os, sys\nos.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
                         "from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
            "settings.py": "import os\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['shelf']\nDEFAULT_AUTO_FIELD = 'django.db.models.AutoField'\n"
                           "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': os.environ['PGDATABASE']}}\n",
            "shelf/__init__.py": "", "shelf/migrations/__init__.py": "", "shelf/models.py": "",
            "shelf/migrations/0001_book.py": DJANGO % ("[]", "migrations.CreateModel('Book', [('id', models.AutoField(primary_key=True)),"
                                                       " ('author', models.TextField())], options={'db_table': 'book'})"),
            "shelf/migrations/0002_slug.py": DJANGO % ("[('shelf', '0001_book')]", DJANGO_FIELD % "slug"),
            "shelf/migrations/0003_shelf.py": DJANGO % ("[('shelf', '0002_slug')]", DJANGO_FIELD % "shelf")})
        ledger = "SELECT app || '.' || name FROM django_migrations WHERE app = 'shelf' ORDER BY id"
        self.assertEqual(self.run_action("django", "forward"), 0, self.output)
        old = self.columns()
        squashed = DJANGO % ("[]", "migrations.CreateModel('Book', [('id', models.AutoField(primary_key=True)), ('author', models.TextField()),"
                                   " ('slug', models.TextField(default=''))], options={'db_table': 'book'})")
        self.write({
            "shelf/migrations/0001_squashed.py": squashed + "    replaces = [('shelf', '0001_book'), ('shelf', '0002_slug')]\n",
            "shelf/migrations/0004_late.py": DJANGO % ("[('shelf', '0003_shelf')]", DJANGO_FIELD % "late")})
        # As it was noted before the upgrade, or with it.
        for is_known in (True, False):
            if is_known:
                self.psql("INSERT INTO django_migrations (app, name, applied) VALUES ('shelf', '0001_squashed', now())")
            before = self.psql(ledger)
            self.assertEqual(self.run_action("django", "forward"), 0, self.output)
            added = [entry for entry in self.psql(ledger) if entry not in before]
            self.assertIn("shelf.0004_late", added)
            self.assertEqual(self.run_action("django", "back", before=before[-1], added="\n".join(added)), 0, self.output)
            self.assertEqual((self.columns(), self.psql(ledger)), (old, before), self.output)
            self.psql("DELETE FROM django_migrations WHERE name = '0001_squashed'")

    def test_alembic(self):
        self.write({
            "alembic.ini": "[alembic]\nscript_location = alembic\n",
            "alembic/env.py": ENV,
            "alembic/versions/0001.py": ALEMBIC % ("0001", "None", "op.execute('CREATE TABLE book (id int, author text)')",
                                                   "op.execute('DROP TABLE book')"),
            "alembic/versions/0002.py": ALEMBIC % ("0002", "'0001'", "op.execute('ALTER TABLE book ADD slug text')",
                                                   "op.execute('ALTER TABLE book DROP slug')")})
        self.preview("alembic", "CREATE TABLE book", "ALTER TABLE book ADD slug text")
        ledger = "SELECT version_num FROM alembic_version"
        self.check("alembic", ledger, "0001", "0002")
        self.write({
            "alembic/versions/0003.py": ALEMBIC % ("0003", "'0002'", "op.execute('ALTER TABLE book ADD late text')",
                                                   "op.execute('ALTER TABLE book DROP late')"),
            "sluice-expand.txt": "0001\n", "sluice-switch.txt": "0002\n"})
        self.parts("alembic", ledger, [["expand"], ["switch"], ["expand"], ["forward"]], ["0001"],
                   [["id", "author"], ["id", "author", "slug"], ["id", "author", "slug"], ["id", "author", "slug", "late"]])
        self.assertEqual(self.preview("alembic"), "-- no revision is pending\n")

    def test_a_revision_without_a_way_back_is_found_before_and_taken_back_by_the_files_of_the_release(self):
        """MLflow has many such: their downgrade() does nothing, so Alembic goes back in its ledger alone."""
        self.write({
            "alembic.ini": "[alembic]\nscript_location = alembic\n", "alembic/env.py": ENV,
            "alembic/versions/0001.py": ALEMBIC % ("0001", "None", "op.execute('CREATE TABLE book (id int, author text)')", "pass"),
            "alembic/versions/0002.py": ALEMBIC % ("0002", "'0001'", "op.execute('ALTER TABLE book ADD slug text')",
                                                   "op.execute('ALTER TABLE book DROP slug')")})
        self.psql("CREATE TABLE book (id int, author text); CREATE TABLE alembic_version (version_num text PRIMARY KEY);"
                  " INSERT INTO alembic_version VALUES ('0001')")
        # What is applied already is nobody's business.
        self.assertEqual(self.run_action("alembic", "preview", "back"), 0, self.output)
        self.write({
            "alembic/versions/0003.py": ALEMBIC % ("0003", "'0002'", "op.execute('ALTER TABLE book ADD late text')",
                                                   "'does nothing'"),
            "alembic/versions/0004.py": ALEMBIC % ("0004", "'0003'", "op.execute('ALTER TABLE book ADD last text')", "pass")})
        self.assertIn("-- no way back: 0004", self.preview("alembic", "-- no way back: 0003"))
        self.assertNotIn("INFO", self.output, "what the parser reads is SQL alone")
        self.assertNotIn("a line of env.py", self.output)
        self.assertNotIn("-- no way back: 0002", self.output)
        self.assertEqual(self.run_action("alembic", "preview", "back"), 1, self.output)
        self.assertIn("write sluice-down/REVISION.sql", self.output)
        self.assertEqual(self.columns(), ["id", "author"])
        self.write({
            "sluice-down/0003.sql": "ALTER TABLE book\n    DROP late;\nSELECT '12:30'::time;\n",
            "sluice-down/0004.sql": "ALTER TABLE book DROP last"})
        self.assertEqual(self.run_action("alembic", "preview", "back"), 0, self.output)
        self.assertNotIn("no way back", self.output)
        self.assertEqual(self.run_action("alembic", "forward"), 0, self.output)
        self.assertEqual(self.columns(), ["id", "author", "slug", "late", "last"])
        self.assertEqual(self.run_action("alembic", "back", before="0001", added="0004"), 0, self.output)
        self.assertEqual((self.columns(), self.psql("SELECT version_num FROM alembic_version")), (["id", "author"], ["0001"]))

    def test_a_revision_that_asks_the_database_is_named_where_its_sql_cannot_be_said(self):
        """Such are common: rows are changed by what is in them."""
        rows = "[op.execute('SELECT 1') for _ in op.get_bind().execute(sqlalchemy.text('SELECT 1')).all()]"
        self.write({
            "alembic.ini": "[alembic]\nscript_location = alembic\n", "alembic/env.py": ENV,
            "alembic/versions/0001.py": ALEMBIC % ("0001", "None", "op.execute('CREATE TABLE book (id int, author text)')", "pass"),
            "alembic/versions/0002.py": "import sqlalchemy\n" + ALEMBIC % ("0002", "'0001'", rows, "pass"),
            "alembic/versions/0003.py": ALEMBIC % ("0003", "'0002'", "op.execute('ALTER TABLE book ADD slug text')", "pass")})
        said = self.preview("alembic", "CREATE TABLE book", "ALTER TABLE book ADD slug text")
        self.assertEqual([line.split()[1] for line in said.splitlines() if "CANNOT BE WRITTEN AS SQL" in line], ["0002"])
        self.assertEqual(self.run_action("alembic", "forward"), 0, self.output)
        self.assertEqual(self.columns(), ["id", "author", "slug"])

    def test_rails(self):
        self.write({
            "bin/rails": "#!/usr/bin/ruby\nAPP_PATH = File.expand_path('../config/application', __dir__)\n"
                         "require 'logger'\nrequire 'rails/commands'\n",
            "Rakefile": "require 'logger'\nrequire_relative 'config/application'\nRails.application.load_tasks\n",
            "config/environment.rb": "require_relative 'application'\nRails.application.initialize!\n",
            "config/application.rb": "require 'logger'\nrequire 'rails'\nrequire 'active_record/railtie'\nmodule Shelf\n"
                                     "  class Application < Rails::Application\n    config.load_defaults 6.1\n    config.eager_load = false\n"
                                     "  end\nend\n",
            "config/database.yml": "production:\n  adapter: postgresql\n  database: <%= ENV['PGDATABASE'] %>\n",
            "db/migrate/20260101000000_book.rb": "class Book < ActiveRecord::Migration[6.1]\n  def change\n"
                                                 "    create_table(:book) { |t| t.text :author }\n  end\nend\n",
            "db/migrate/20260201000000_slug.rb": "class Slug < ActiveRecord::Migration[6.1]\n  def change\n"
                                                 "    add_column :book, :slug, :text\n  end\nend\n"})
        self.preview("rails", "none was ever run")
        ledger = "SELECT version FROM schema_migrations"
        self.check("rails", ledger, "20260101000000", "20260201000000")
        self.preview("rails", "20260101000000", "Slug")
        self.assertFalse((self.release / "db/schema.rb").exists())
        self.write({
            "config/initializers/post_migrate.rb":
                "unless ENV['SKIP_POST_DEPLOYMENT_MIGRATIONS']\n"
                "  Rails.application.config.paths['db/migrate'] << Rails.root.join('db/post_migrate').to_s\n"
                "  ActiveRecord::Migrator.migrations_paths << Rails.root.join('db/post_migrate').to_s\nend\n",
            "db/post_migrate/20260301000000_late.rb": "class Late < ActiveRecord::Migration[6.1]\n  def change\n"
                                                      "    add_column :book, :late, :text\n  end\nend\n"})
        self.parts("rails", ledger, [["switch"], ["forward"]], ["20260101000000", "20260201000000"],
                   [["id", "author", "slug"], ["id", "author", "slug", "late"]])
        self.assertIn("no migration is pending", self.preview("rails"))
        # One that was merged late has a number below the last of before, which stays.
        self.assertEqual(self.run_action("rails", "back", before="20260301000000", added="20260101000000"), 0, self.output)
        self.assertEqual(self.psql(ledger + " ORDER BY 1"), ["20260201000000", "20260301000000"])

    def calls(self, kind, verb, **more):
        """What the script has `bin/rails` do."""
        said = self.release / "said"
        said.write_text("")
        self.write({"bin/rails": "#!/bin/sh\necho \"$*${NAME:+ NAME=$NAME}${VERSION:+ VERSION=$VERSION} schema $SCHEMA\" >>%s\n" % said})
        self.assertEqual(self.run_action(kind, verb, **more), 0, self.output)
        return [line.removesuffix(" schema /dev/null") for line in said.read_text().splitlines()]

    def test_rails_takes_back_what_was_added_and_no_more(self):
        """Where migrations were 001, 002 once, as in Redmine, '99' is the last by its letters, and everything since would go."""
        first, second = "20260101000000", "20260201000000"
        for before, added, expected in [
                (first, [second], ["db:migrate VERSION=" + first]), ("", [first, second], ["db:migrate VERSION=0"]),
                ("99", [second], ["db:migrate:down VERSION=" + second]),
                ("20260301000000", [first, second], ["db:migrate:down VERSION=" + second, "db:migrate:down VERSION=" + first])]:
            self.assertEqual(self.calls("rails", "back", before=before, added="\n".join(added)), expected)

    def test_redmine_takes_back_its_plugins_and_then_its_own(self):
        plugin = "plugins/wiki_extras/db/migrate/"
        self.assertEqual(self.calls("redmine", "forward"), ["db:migrate"])
        self.write({plugin + "001_one.rb": "", plugin + "002_two.rb": "", plugin + "20260110000000_ten.rb": ""})
        self.assertEqual(self.calls("redmine", "forward"), ["db:migrate", "redmine:plugins:migrate"])
        self.assertEqual(
            self.calls("redmine", "back", before="20260101000000", added="20260110000000-wiki_extras\n20260201000000"),
            ["redmine:plugins:migrate NAME=wiki_extras VERSION=2", "db:migrate VERSION=20260101000000"])
        self.assertEqual(self.calls("redmine", "back", before="99", added="2-wiki_extras\n1-wiki_extras"),
                         ["redmine:plugins:migrate NAME=wiki_extras VERSION=0"])

    def test_redmine_says_what_of_its_plugins_is_not_applied(self):
        """Rails says that all is: the tool was killed between the two."""
        self.write({"plugins/wiki_extras/db/migrate/001_one.rb": "", "bin/rails": REDMINE % "echo a word; echo 1-wiki_extras"})
        self.assertEqual(self.run_action("redmine", "preview"), 0, self.output)
        self.assertIn("no migration is pending\n down    1-wiki_extras", self.output)
        self.assertEqual(self.run_action("redmine", "done"), 1)
        self.assertIn("not applied: 1-wiki_extras", self.output)
        self.write({"bin/rails": REDMINE % "echo a word"})
        self.assertEqual(self.run_action("redmine", "done"), 0, self.output)
        self.write({"bin/rails": REDMINE % "exit 3"})
        self.assertEqual(self.run_action("redmine", "done"), 3)

    def test_with_pass_puts_the_pass_into_the_url(self):
        parameter = "options=-c%20sluice.pass%3Dsecret%20-c%20default_transaction_read_only%3Doff"
        settings = self.release / "database.env"

        def shown(url, passes=parameter):
            settings.write_text("SHOP_URL='%s'\nOTHER=1\n" % url)
            environment = {"PATH": PATH, "PGHOST": os.environ["PGHOST"], "PGPORT": os.environ["PGPORT"], "PGUSER": os.environ["PGUSER"],
                           **({"SLUICE_PASS_PARAMETER": passes} if passes else {})}
            done = subprocess.run(
                [SCRIPTS / "with-pass", settings, "SHOP_URL", "sh", "-c",
                 'psql -X -A -t "$SHOP_URL" -c "SELECT current_setting(\'sluice.pass\', true)"; echo "$OTHER"'],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return done.returncode, done.stdout.strip()

        url = "postgresql:///%s" % self.database
        self.assertEqual(shown(url), (0, "secret\n1"))
        self.assertEqual(shown(url + "?application_name=shop"), (0, "secret\n1"))
        self.assertEqual(shown(url, ""), (0, "1"))
        self.assertIn("options of its own", shown(url + "?options=-c%20x.y%3D1")[1])
        self.assertIn("does not set SHOP_URL", shown("")[1])


REDMINE = """#!/bin/sh
case $1 in
runner) case $2 in *Redmine::Plugin.all*) %s ;; *) exit 1 ;; esac ;;
db:migrate:status | db:abort_if_pending_migrations) ;;
*) exit 1 ;;
esac
"""
DJANGO = """from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = %s
    operations = [%s]
"""
DJANGO_FIELD = "migrations.AddField('Book', '%s', models.TextField(default=''))"
ENV = """import logging
import sqlalchemy
from alembic import context
logging.basicConfig(level=logging.INFO)  # as the file of `alembic init` has it
print('a line of env.py')
if context.is_offline_mode():
    context.configure(dialect_name='postgresql')
    with context.begin_transaction():
        context.run_migrations()
    raise SystemExit
with sqlalchemy.create_engine('postgresql+psycopg2://').connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
ALEMBIC = """from alembic import op
revision, down_revision = "%s", %s
def upgrade():
    %s
def downgrade():
    %s
"""

if __name__ == "__main__":
    unittest.main()
