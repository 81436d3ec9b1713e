"""The audit log: a hash chain of who did what, its signed checkpoints, and the incidents beside it."""
