"""Where a daemon of an older version starts a media worker after its files were replaced: the worker of these files.

The daemon compares the worker's first message with its own (recorder.workers.version_check) and restarts itself if they
differ. May go once nobody upgrades from a version whose workers were started here.
"""

from recorder.workers.process import main

if __name__ == "__main__":
    main()
