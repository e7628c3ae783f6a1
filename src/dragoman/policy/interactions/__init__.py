"""Conversations that are kept: what is kept of them, imports, exports, and questions about them."""
