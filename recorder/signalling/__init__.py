"""What SIP needs to know about the node: customers by address and name, reachable addresses."""
