"""The ledger: what a request's path needs of the books, exact across processes and after `kill -9`.

Open `ledger` first: the event loop's side. `till` is the same without threads, `transaction` one batch
of jobs in SQL, `account_book` the rules by which money moves. `journal` keeps what is under way where it
survives the process, and `sweep` closes what a dead one left.

The free balance of an account is one number in the database. A process leases a slice of it, and holds
from the slice without asking; when the balance runs low, nobody keeps slices, and every hold is asked of
the database (*exact*). A process that is short asks the others for their slices by raising an epoch that
all of them map (`shared_words`).
"""

from dragoman.stores.ledger.ledger import SqliteLedger, open_ledger
from dragoman.stores.ledger.till import sweep_dead

__all__ = ["SqliteLedger", "open_ledger", "sweep_dead"]
