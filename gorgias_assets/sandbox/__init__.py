"""A simulated Gorgias account, served over HTTP on loopback.

It stands in for `https://<domain>.gorgias.com` in the demo and in every test: the real client, real sockets, and an
account whose rows, clock, mistakes and deletions are in the hands of whoever runs it.

    moments    the instants Gorgias prints, and the microseconds they are ordered by
    objects    every kind of object: its fields when nothing is known, its orders, its filters
    rows       the rows of one account, stored as JSON, and pages of them by keyset cursor
    account    what changes rows, and what each change moves: bumps, cascades, merges, events
    shop       a living shop, which acts on an account over simulated time
    prose      what its customers and agents write
    endpoints  which path answers what
    bucket     the leaky bucket of API calls
    faults     what goes wrong on demand
    server     the HTTP in front of it all

`python -m gorgias_assets.sandbox` starts a shop that goes on living in real time.
"""
