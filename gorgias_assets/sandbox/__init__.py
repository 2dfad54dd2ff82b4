"""A simulated Gorgias account, served over HTTP on loopback.

It stands in for `https://<domain>.gorgias.com` in the demo and in every test: the real client, real sockets, and an
account whose rows, clock, mistakes and deletions a test or a demo controls.

    moments    the instants Gorgias prints, and the microseconds they are ordered by
    kinds      the shape of a kind of object: its fields when nothing is known, its orders, its filters
    objects    every kind of object that Gorgias lists
    rows       the rows of one account, stored as JSON, and pages of them by keyset cursor
    happenings the events of each change, and whose doing they are
    account    what changes rows, and what each change moves: bumps, cascades, merges, events
    reference  everything that an account of some years has set up
    life       simulated time: a heap of happenings, which act on an account and plan the next
    shop       a small living shop: one mailbox, six agents
    brand      a living brand, made of departments; what `python -m` serves
    prose      what customers and agents write
    endpoints  the paths of the API, and the answer of each
    bucket     the leaky bucket of API calls
    faults     what goes wrong on demand: any status, header or body, by path, turn or weight of the page
    server     the HTTP in front of it all, on its own host only, with TLS and another clock if wanted

The departments of a brand, each with what it works with and what happens to it:

    people         customers, known on every channel
    channels       the ways to write, and the integrations behind them
    staff          agents, their hours and teams; bots
    tags           made, renamed, merged, deleted
    custom_fields  fields and their values
    macros         prepared answers
    tickets        conversations and messages, and what is done to them
    rules          what the helpdesk does by itself
    robot          the AI Agent
    desk           who answers, and when
    calls          the hotline
    jobs           what is done to many tickets at once
    settings       views, widgets, hours, the subscription
    upkeep         chores
    rhythm         nights, weekends, Mondays

`python -m gorgias_assets.sandbox` starts a brand that lives on in real time.
"""
