"""IO managers: `merging` is what they share, `warehouse` what they need of a database, each engine says only how."""
