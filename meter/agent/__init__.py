"""The provider's side: spool and push, and a simulated provider."""

from meter.agent.push import Report, Reporter

__all__ = ["Report", "Reporter"]
