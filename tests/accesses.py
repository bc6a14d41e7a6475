"""The digests of the access log, where a test has them made."""

from meter.service.access_digests import AccessDigests
from tests.services import Service


def digests(service: Service) -> AccessDigests:
    """Return what the leader runs, to be run when a test says so."""
    running = service.running
    return AccessDigests(running.readers, running.intake, running.clock)
