"""`kashi person --recover`: an operator gives a person a token, past all persons.

For when too few can act: tokens were lost, or somebody has left. The service is started without
being told to anybody, takes this one command, publishes its entry, and stops. No two persons stand
behind the entry, so every monitor raises an alarm.
"""

from itertools import count

from meter.host.clock import SYSTEM_CLOCK, Clock
from meter.host.data_folder import DataFolder
from meter.host.tokens import TOKEN_ID
from meter.rules.commands import RecoverPerson
from meter.rules.people import People
from meter.service.recover import renew_token
from meter.service.running import Endpoint, running
from meter.service.setup import SetupError
from meter.tables import connections


async def recover_person(folder: DataFolder, person: str, clock: Clock = SYSTEM_CLOCK) -> str:
    """Make a token for a known or a new person, in the person's file; return its id.

    Raises `SetupError`, and `Problem` where the person has ended or the id looks like another.
    """
    async with running(folder, Endpoint(port=0), clock) as service:
        token_id = _free_name(service.intake.state.people, person)
        if not TOKEN_ID.fullmatch(token_id):
            raise SetupError("bad_name", f"{person!r} is not 1 to 60 of A-Z a-z 0-9 . _ -")
        command = RecoverPerson(id=person, token=token_id)
        await service.intake.command(command, token_id, None)
        connection = await connections.connect(service.address)
        try:
            await renew_token(connection, folder, token_id, person)
        finally:
            await connection.close()
    return token_id


def _free_name(people: People, person: str) -> str:
    return next(name for n in count(1) if (name := f"{person}-{n}") not in people.tokens)
