"""Replay a bundle's golden inputs and name the mistake where its parts disagree."""
