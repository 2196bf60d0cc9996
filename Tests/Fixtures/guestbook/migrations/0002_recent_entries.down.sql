DROP INDEX CONCURRENTLY IF EXISTS public.entry_created_at;
