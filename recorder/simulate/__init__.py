"""A session recording client (RFC 7866): places calls with known audio at any recorder and reports what it sent.

It shares no code with the recording path beyond the syntax of messages, so that each can judge the other:

    report = await run(Plan(to="sip:rec@127.0.0.1:5061;transport=tls", calls=2, seconds=10, insecure=True))
"""
