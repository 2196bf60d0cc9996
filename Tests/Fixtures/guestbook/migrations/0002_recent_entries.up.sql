-- sluice: expand
-- v2 lists by time. Both releases live with the index, so it is built while everybody writes.
CREATE INDEX CONCURRENTLY entry_created_at ON public.entry (created_at DESC, id DESC);
