"""One customer's storage assembled, and the registry of all customers of a node."""
