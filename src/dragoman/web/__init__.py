"""HTTP in, bytes out, no rules: bare ASGI callables, independent of the server that runs them."""
