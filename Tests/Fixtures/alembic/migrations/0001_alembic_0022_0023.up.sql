-- What `alembic upgrade 0021:heads --sql` prints.
ALTER TABLE book RENAME author TO written_by;
ALTER TABLE book ADD COLUMN slug TEXT DEFAULT '' NOT NULL;
UPDATE alembic_version SET version_num = '0022' WHERE alembic_version.version_num = '0021';
UPDATE book SET slug = id || '-' || lower(title);
UPDATE alembic_version SET version_num = '0023' WHERE alembic_version.version_num = '0022';
