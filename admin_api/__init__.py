"""The HTTP surface of the recorder: who may ask for what, and every answer it gives."""
