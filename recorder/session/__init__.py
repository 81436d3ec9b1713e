"""One recording session: its state, offer and answer, participants and the document of the call."""
