-- 0003 is Python: the same in SQL.
UPDATE shelf_book SET slug = id || '-' || lower(title);
INSERT INTO django_migrations (app, name, applied) VALUES ('shelf', '0003_fill_slugs', now());
