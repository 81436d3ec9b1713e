#!/usr/lib/recorder/current/bin/python
"""Exit with status 0 if the recorder of this container answers on its admin API: recorder-healthcheck CONFIG."""

import ssl
import sys
from pathlib import Path
from urllib.request import urlopen

from recorder.config.loader import examine

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked where it listens on every address
SECONDS = 4.0

settings, _ = examine(Path(sys.argv[1]), files=False)  # a fault that somebody has just written does not end a recorder
api = settings.admin_api
host = LOOPBACK.get(api.listen.host, api.listen.host)
place = f"[{host}]" if ":" in host else host
tls = ssl.create_default_context()
tls.check_hostname = False
tls.verify_mode = ssl.CERT_NONE  # what answers here is this container, whatever its certificate says
try:
    scheme = "https" if api.certificate else "http"
    urlopen(f"{scheme}://{place}:{api.listen.port}/healthz", timeout=SECONDS, context=tls).close()  # noqa: S310
except OSError as problem:
    sys.exit(f"no answer: {type(problem).__name__}")
