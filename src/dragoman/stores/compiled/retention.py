"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_OLDEST = """\
SELECT sequence FROM usage_records INDEXED BY ix_usage_records_started WHERE started_s < :cutoff_s ORDER BY started_s, sequence LIMIT :chunk
"""
SQLITE_READ_CHUNK = """\
SELECT * FROM usage_records WHERE sequence IN (SELECT value FROM json_each(:sequences)) ORDER BY sequence
"""
SQLITE_COUNT_CHARGED = """\
SELECT count(*) FROM usage_records WHERE cost <> 0 AND sequence IN (SELECT value FROM json_each(:sequences))
"""
SQLITE_DELETE_CHUNK = """\
DELETE FROM usage_records WHERE sequence IN (SELECT value FROM json_each(:sequences))
"""
