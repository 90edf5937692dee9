"""The sample world: mails of a small grammar with planted, labelled personal data."""
