"""Jobs beside the calls: retention and erasure, audit, directory, verification, key rotation."""
