"""`kashi access-log export`: the file of the access log that auditors download, for an operator.

It needs no token, so the access log has no row about it.
"""

from contextlib import aclosing
from pathlib import Path

from meter.api.get_access_log import access_view
from meter.auditor.papers.target import new_file
from meter.console.access_log import file_begin, file_lines
from meter.host.data_folder import DataFolder
from meter.service.admin import service_connection
from meter.tables.access_log import Sought, all_accesses


async def export_access_log(folder: DataFolder, days: range, out: Path) -> int:
    """Write the rows of some days since 1970-01-01 into a new private file; return how many.

    Raises `BadTarget` where there is a file already, `SetupError` and `OSError`.
    """
    count = 0
    with new_file(out) as file:
        file.write(file_begin())
        async with (
            service_connection(folder) as connection,
            aclosing(all_accesses(connection, Sought(days.start, days.stop))) as parts,
        ):
            async for rows in parts:
                file.write(file_lines(access_view(day, access) for (day, _, _), access in rows))
                count += len(rows)
    return count
