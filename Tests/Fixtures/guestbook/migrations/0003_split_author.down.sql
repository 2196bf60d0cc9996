-- The way back, without loss: what was split at the first space is joined by one.
ALTER TABLE public.entry ADD COLUMN author text;

UPDATE public.entry
   SET author = CASE family_name WHEN '' THEN given_name ELSE given_name || ' ' || family_name END;

ALTER TABLE public.entry
    DROP COLUMN given_name,
    DROP COLUMN family_name,
    ALTER COLUMN author SET NOT NULL,
    ADD CONSTRAINT entry_author_check CHECK (author <> '' AND author = btrim(author));
