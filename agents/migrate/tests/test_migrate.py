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
        self.database = "migrate_%s" % self._testMethodName.lower()
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

    def run_action(self, kind, verb, before="", added=""):
        """As the agent runs it. Returns the exit status."""
        environment = {
            **{name: value for name, value in os.environ.items() if name.startswith("PG")}, "PATH": PATH, "LANG": "C.UTF-8",
            "PGDATABASE": self.database, "HOME": self.directory.name, "SLUICE_LEDGER_BEFORE": before, "SLUICE_LEDGER_ADDED": added}
        done = subprocess.run([SCRIPTS / kind, verb, self.release], env=environment, stdin=subprocess.DEVNULL,
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
        self.check("django", "SELECT name FROM django_migrations WHERE app = 'shelf'", "shelf.0001_book", "shelf.0002_slug")

    def test_alembic(self):
        self.write({
            "alembic.ini": "[alembic]\nscript_location = alembic\n",
            "alembic/env.py": "import sqlalchemy\nfrom alembic import context\n"
                              "with sqlalchemy.create_engine('postgresql+psycopg2://').connect() as connection:\n"
                              "    context.configure(connection=connection, transaction_per_migration=True)\n"
                              "    with context.begin_transaction():\n        context.run_migrations()\n",
            "alembic/versions/0001.py": ALEMBIC % ("0001", "None", "op.execute('CREATE TABLE book (id int, author text)')",
                                                   "op.execute('DROP TABLE book')"),
            "alembic/versions/0002.py": ALEMBIC % ("0002", "'0001'", "op.execute('ALTER TABLE book ADD slug text')",
                                                   "op.execute('ALTER TABLE book DROP slug')")})
        self.check("alembic", "SELECT version_num FROM alembic_version", "0001", "0002")

    def test_rails(self):
        self.write({
            "bin/rails": "#!/usr/bin/ruby\nAPP_PATH = File.expand_path('../config/application', __dir__)\n"
                         "require 'logger'\nrequire 'rails/commands'\n",
            "Rakefile": "require 'logger'\nrequire_relative 'config/application'\nRails.application.load_tasks\n",
            "config/environment.rb": "require_relative 'application'\nRails.application.initialize!\n",
            "config/application.rb": "require 'logger'\nrequire 'rails'\nrequire 'active_record/railtie'\nmodule Shelf\n"
                                     "  class Application < Rails::Application\n    config.load_defaults 6.1\n    config.eager_load = false\n"
                                     "    config.active_record.dump_schema_after_migration = false\n  end\nend\n",
            "config/database.yml": "production:\n  adapter: postgresql\n  database: <%= ENV['PGDATABASE'] %>\n",
            "db/migrate/20260101000000_book.rb": "class Book < ActiveRecord::Migration[6.1]\n  def change\n"
                                                 "    create_table(:book) { |t| t.text :author }\n  end\nend\n",
            "db/migrate/20260201000000_slug.rb": "class Slug < ActiveRecord::Migration[6.1]\n  def change\n"
                                                 "    add_column :book, :slug, :text\n  end\nend\n"})
        self.check("rails", "SELECT version FROM schema_migrations", "20260101000000", "20260201000000")
        # One that was merged late has a number below the last of before, which stays.
        self.assertEqual(self.run_action("rails", "forward"), 0, self.output)
        self.assertEqual(self.run_action("rails", "back", before="20260201000000", added="20260101000000"), 0, self.output)
        self.assertEqual(self.psql("SELECT version FROM schema_migrations"), ["20260201000000"])


DJANGO = """from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = %s
    operations = [%s]
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
