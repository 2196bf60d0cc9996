-- What `alembic downgrade 0023:0021 --sql` prints.
UPDATE alembic_version SET version_num = '0022' WHERE alembic_version.version_num = '0023';
ALTER TABLE book DROP COLUMN slug;
ALTER TABLE book RENAME written_by TO author;
UPDATE alembic_version SET version_num = '0021' WHERE alembic_version.version_num = '0022';
