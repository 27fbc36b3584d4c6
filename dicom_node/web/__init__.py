"""The reading room: pages and DICOMweb over the ledger and the spool. Loads no network."""
