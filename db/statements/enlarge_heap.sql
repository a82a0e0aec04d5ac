-- Frees a block of $1 bytes once, so that glibc's malloc in this server process keeps memory of that size from now on
-- (M_MMAP_THRESHOLD adjusts itself to what was freed) and does not hand it back to the kernel, to take it anew, with each
-- statement: a third of the time of a statement with a megabyte of vectors.
SELECT pg_catalog.octet_length(pg_catalog.repeat(pg_catalog.repeat('x', 8192), $1::int4 / 8192))
