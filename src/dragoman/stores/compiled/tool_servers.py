"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_SERVERS = """\
SELECT tool_servers."key", tool_servers.kind, tool_servers.url, tool_servers.command, tool_servers.environment, tool_servers.headers, tool_servers.tools, tool_servers.allow_private, tool_servers.applied, tool_servers.created_s, tool_servers.disabled_s FROM tool_servers ORDER BY tool_servers."key"
"""
SQLITE_PUT_SERVER = """\
INSERT INTO tool_servers ("key", kind, url, command, environment, headers, tools, allow_private, applied, created_s, disabled_s) VALUES (:key, :kind, :url, :command, :environment, :headers, :tools, :allow_private, :applied, :created_s, :disabled_s) ON CONFLICT ("key") DO UPDATE SET kind = excluded.kind, url = excluded.url, command = excluded.command, environment = excluded.environment, headers = excluded.headers, tools = excluded.tools, allow_private = excluded.allow_private, applied = excluded.applied, created_s = excluded.created_s, disabled_s = excluded.disabled_s
"""
SQLITE_DELETE_SERVER = """\
DELETE FROM tool_servers WHERE tool_servers."key" = :key
"""
