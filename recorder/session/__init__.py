"""One recording session: its state machine, offer and answer, streams, participants and the call document."""
