"""Server-side tools: MCP servers and HTTP endpoints, and the bounded loop in which a model uses them."""
