-- sluice: switch
-- One column becomes two: neither release survives the other's schema.
ALTER TABLE public.entry ADD COLUMN given_name text, ADD COLUMN family_name text;

-- Split at the first space. `author` has no space at its ends, so nothing is lost: see the way back.
UPDATE public.entry
   SET given_name = split_part(author, ' ', 1),
       family_name = substr(author, length(split_part(author, ' ', 1)) + 2);

ALTER TABLE public.entry
    ALTER COLUMN given_name SET NOT NULL,
    ALTER COLUMN family_name SET NOT NULL,
    ADD CONSTRAINT entry_given_name_check CHECK (given_name <> '' AND strpos(given_name, ' ') = 0) NOT VALID,
    DROP COLUMN author;
