"""What SIP needs to know of the node: customers by address and name, reachable addresses."""
