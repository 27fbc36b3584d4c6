"""The front door: who may associate, C-ECHO and C-STORE."""
