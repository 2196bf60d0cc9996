-- What v1 was installed with, before Sluice came. `author` is the last column, so that 0003's way back puts it where it was.
CREATE TABLE public.entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL UNIQUE,
    message text NOT NULL CHECK (message <> ''),
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    author text NOT NULL,
    CONSTRAINT entry_author_check CHECK (author <> '' AND author = btrim(author))
);

ALTER TABLE public.entry OWNER TO guestbook_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.entry TO guestbook_app;
GRANT SELECT, INSERT ON public.entry TO guestbook_writers;
GRANT SELECT ON public.entry TO guestbook_reader;

-- The counter of visits: written by scripts and through a function with its owner's rights.
CREATE TABLE public.visit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL UNIQUE,
    how text NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE public.visit OWNER TO guestbook_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.visit TO guestbook_app;
GRANT SELECT, INSERT ON public.visit TO guestbook_writers;

CREATE FUNCTION public.count_visit(request_id uuid, how text) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public
    AS 'INSERT INTO public.visit (request_id, how) VALUES ($1, $2) RETURNING id';

ALTER FUNCTION public.count_visit(uuid, text) OWNER TO guestbook_owner;
REVOKE EXECUTE ON FUNCTION public.count_visit(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.count_visit(uuid, text) TO guestbook_app, guestbook_writers;
