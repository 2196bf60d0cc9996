DELETE FROM django_migrations WHERE app = 'shelf' AND name = '0002_slug_and_loans';
DROP TABLE shelf_loan;
ALTER TABLE shelf_book DROP COLUMN slug;
ALTER TABLE shelf_book RENAME COLUMN written_by TO author;
