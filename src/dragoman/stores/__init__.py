"""Where things are kept: SQL, and nothing above this package speaks it.

The schema (`schema`) and the statements (`statements`) are written in SQLAlchemy Core, portably, and
compiled ahead into `compiled`, which the drivers execute: neither SQLAlchemy nor Alembic is imported
unless a database has to be migrated, because that costs 0.3 and 0.6 s of a start.
"""

from dragoman.stores.open import SchemaState, Store, inspect_schema, open_store
from dragoman.stores.store_failed import StoreFailed

__all__ = ["SchemaState", "Store", "StoreFailed", "inspect_schema", "open_store"]
