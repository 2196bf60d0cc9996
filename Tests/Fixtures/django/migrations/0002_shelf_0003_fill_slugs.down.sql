DELETE FROM django_migrations WHERE app = 'shelf' AND name = '0003_fill_slugs';
