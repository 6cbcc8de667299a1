"""Reads expressions, one a line, and writes each with its next ticks as Python's croniter has them, in UTC."""

import datetime
import sys

from croniter import croniter

TICKS = 4
FROM = datetime.datetime(2026, 1, 1)

for line in sys.stdin:
    expression = line.rstrip("\n")
    try:
        ticks, at = [], FROM
        schedule = croniter(expression, FROM)
        for _ in range(TICKS):
            then = schedule.get_next(datetime.datetime)
            ticks.append(str(int((then - at).total_seconds()) // 60))
            at = then
        said = " " + " ".join(ticks)
    except Exception as error:
        said = " never" if "failed to find" in str(error) else "refused"
    print(f"{expression}|{said}")
