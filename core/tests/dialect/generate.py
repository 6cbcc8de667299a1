"""Writes cron expressions, one a line: the same ones whenever it runs."""

import random

COUNT = 12_500
FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
MACROS = "@yearly @annually @monthly @weekly @daily @midnight @hourly @reboot @Daily".split()

rng = random.Random(20261125)


def name(field, value):
    text = str(value)
    if field == 3 and rng.random() < 0.2:
        text = MONTHS[value - 1]
    if field == 4 and value < 7 and rng.random() < 0.3:
        text = DAYS[value]
    return rng.choice([text, text.upper(), text.capitalize()])


def item(field):
    low, high = FIELDS[field]
    kind = rng.choices(["value", "range", "stepped range", "from", "star step", "star", "wrong"],
                       [40, 20, 10, 6, 14, 8, 2])[0]
    a, b = sorted(rng.sample(range(low, high + 1), 2))
    step = rng.choice([1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 45])
    if kind == "value":
        # 7 is Sunday, says everybody but robfig.
        return "7" if field == 4 and rng.random() < 0.05 else name(field, a)
    if kind == "range":
        return f"{name(field, a)}-{name(field, b)}"
    if kind == "stepped range":
        return f"{name(field, a)}-{name(field, b)}/{step}"
    if kind == "from":
        return f"{a}/{step}"
    if kind == "star step":
        return f"*/{step}"
    if kind == "star":
        return rng.choices(["*", "?"], [9, 1])[0]
    return rng.choice([str(high + rng.randint(1, 9)), f"{b + 1}-{a}", "x", "*/0", "1-2-3", "", "-3", "5//2", "+4"])


def field(at):
    if at >= 2 and rng.random() < 0.45:
        return "*"
    return ",".join(item(at) for _ in range(rng.choices([1, 2, 3, 5], [70, 18, 8, 4])[0]))


NEVER = ["0 0 30 2 *", "0 0 30,31 feb *", "0 12 31 2,4,6,9,11 *"]

seen = dict.fromkeys(MACROS + NEVER)
while len(seen) < COUNT:
    fields = [field(at) for at in range(5)]
    if rng.random() < 0.01:
        fields = rng.choice([fields[:4], fields + ["*"]])
    seen[" ".join(fields)] = None
print("\n".join(seen))
