"""One file for each schema version, in order; never changed after its release."""
