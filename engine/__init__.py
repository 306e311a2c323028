"""Talktime's engine: signalling, media relay, metering, chat and the ledger behind paid calls."""
