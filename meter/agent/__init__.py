"""The provider's side: spool and push, and a simulated provider."""
