"""Users imported from a company directory, and the matching of calls to them."""
