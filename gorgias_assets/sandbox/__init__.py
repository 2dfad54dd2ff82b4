"""A simulated Gorgias account, served over HTTP on loopback.

It stands in for `https://<domain>.gorgias.com` in the demo and in every test: the real client, real sockets, and an
account whose rows, clock, mistakes and deletions a test or a demo controls.

    moments    the instants Gorgias prints, and the microseconds they are ordered by
    objects    every kind of object: its fields when nothing is known, its orders, its filters
    rows       the rows of one account, stored as JSON, and pages of them by keyset cursor
    happenings the events of a field's change
    account    what changes rows, and what each change moves: bumps, cascades, merges, events
    reference  everything that an account of some years has set up
    shop       a living shop, which acts on an account over simulated time
    prose      what its customers and agents write
endpoints  the paths of the API, and the answer of each
    bucket     the leaky bucket of API calls
    faults     what goes wrong on demand: any status, header or body, by path, turn or weight of the page
    server     the HTTP in front of it all, on its own host only, with TLS and another clock if wanted

`python -m gorgias_assets.sandbox` starts a shop that lives on in real time.
"""
