"""Erasure (Art. 17 GDPR): requests, holds, waivers, the log of cut keys, and receipts."""
