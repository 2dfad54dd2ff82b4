"""IO managers: `merging` is what they have in common, `warehouse` what they need of a database, each engine says how."""
