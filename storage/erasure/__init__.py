"""Erasure (Art. 17 GDPR): requests, holds, waivers, and receipts."""
