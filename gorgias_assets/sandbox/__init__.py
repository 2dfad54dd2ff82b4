"""A simulated Gorgias account, served over HTTP on loopback.

It stands in for `https://<domain>.gorgias.com` in the demo and in every test: the real client, real sockets, and an
account whose rows, clock, mistakes and deletions a test or a demo controls.

    moments      the instants Gorgias prints, and the microseconds they are ordered by
    kinds        the shape of a kind of object: its fields when nothing is known, its orders, its filters
    objects      every kind of object that Gorgias lists
    rows         the rows of one account, stored as JSON, and pages of them by keyset cursor
    happenings   the events of each change, and whose doing they are
    account      what changes rows, and what each change moves: bumps, cascades, merges, events
    reference    everything that an account of some years has set up
    life         simulated time: a heap of happenings, which act on an account and plan the next
    shop         a small living shop: one mailbox, six agents
    brand        a living brand on every channel, which is made of departments
    departments  a module for each of them
    prose        what customers and agents write, and their names
    endpoints    the paths of the API, and the answer of each
    bucket       the leaky bucket of API calls
    faults       what goes wrong on demand: any status, header or body, by path, turn or weight of the page
    server       the HTTP in front of it all, on its own host only, with TLS and another clock if wanted

`python -m gorgias_assets.sandbox` starts a brand that lives on in real time.
"""
