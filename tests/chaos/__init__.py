"""Is a promise broken when everything around bridge breaks? Real processes, real faults, exact sums.

`python -m tests.chaos` (``make chaos``) is the long form, `test_chaos.py` the short one. It stands among the tests,
because it is one, and shares their fake bodies; what runs as a process of its own (`chat`, `network`, `skewed`) needs
nothing but the standard library and bridge. One round, in the order of the files:

`senders` post numbered steps of numbered runs until they are answered; `fleet` keeps `bridge serve` running;
`database` is what it writes to; `chat` accepts and keeps a book; `network` stands between bridge and chat; `faults`
breaks all of them, by a seeded plan; `story` runs a round; `reconcile` compares the book and the database with what
the senders were promised; `report` writes the sums into docs/reliability.md.
"""
