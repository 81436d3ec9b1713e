"""Notes and files that people add to a call, sealed under the call's own key."""
