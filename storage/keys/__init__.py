"""The key tree, from which every recording's key is derived, and which cuts keys to erase recordings; the cut log."""
