"""The API of the practice cluster, in pieces: kinds, records, patches, watches, tables, reviews."""
