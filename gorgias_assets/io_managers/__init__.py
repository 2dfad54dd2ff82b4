"""The IO managers: `merging` is what they share; each engine's module adds its settings and its warehouse."""
