"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_PRICES = """\
SELECT prices.id, prices.model, prices.valid_from_s, prices.source, prices.tiers FROM prices ORDER BY prices.model, prices.valid_from_s
"""
SQLITE_ADD_PRICE = """\
INSERT INTO prices (id, model, valid_from_s, source, tiers) VALUES (:id, :model, :valid_from_s, :source, :tiers)
"""
