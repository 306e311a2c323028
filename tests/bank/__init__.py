"""A bank test: engine processes on one PostgreSQL, killed, frozen and cut off again and again.

Real processes run the real session, chat, order and ledger code on the system clock; only sockets
and media packets are left out, customers and experts are played by scripts in the same process.
A controller kills processes with SIGKILL, freezes them for longer than the stale window (so that
two processes believe to own a session) and terminates their connections to the database. When it
is over everything must settle, and money must be where an independent account of what the scripts
saw says that it may be.

    python -m tests.bank --kills 300 --engines 3 [--seed N]
"""
