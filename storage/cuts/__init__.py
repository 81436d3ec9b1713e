"""Rules for cutting keys on several nodes (docs/formats/cuts.md): chained lines, and the next step of a holder."""
