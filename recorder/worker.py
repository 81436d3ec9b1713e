"""Entry point of media workers for a daemon of an older version whose files were replaced while it ran.

The old daemon compares the worker's first message with its own (recorder.workers.version_check) and restarts itself if
they differ. Delete this file once nobody upgrades from a version that starts its workers here.
"""

from recorder.workers.process import main

if __name__ == "__main__":
    main()
