"""Damage to files: of any bytes, and of what JSON, YAML, safetensors, zip archives and Parquet say."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

HOSTILE: list[Any] = [
    *(None, True, "", " ", 0, -1, 1.5, 2**31, 2**63, 10**30, -(10**30), 1e308, float("nan"), float("inf")),
    *("../../etc/passwd", "/etc/passwd", "a/b", "\0", "<script>alert(1)</script>", "'\"&<>", "é\u202e\ud7ff"),
    *("nan", "1e999", "x" * 10_000, [], {}, [[]], [None], {"": None}, [1, "a", None], [0] * 10_000),
]
NUMBERS = [struct.pack("<q", value) for value in (0, -1, 2**31 - 1, 2**31, 2**62, 2**63 - 1)]


def mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite, once to four times."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(6):
            case 0 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case 1:
                del data[at : at + draw.randint(1, 64)]
            case 2:
                data[at:at] = data[at : at + draw.randint(1, 64)]
            case 3:
                number = draw.choice(NUMBERS)[: draw.choice([1, 2, 4, 8])]
                data[at : at + len(number)] = number
            case 4:
                del data[at:]
            case _:
                data[at:at] = draw.randbytes(draw.randint(1, 16))
    return bytes(data)


def mutate_value(value: Any, draw: random.Random) -> Any:
    """Replace, drop or add something at a random place in a JSON value."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        match draw.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return value | {str(draw.choice(HOSTILE))[:50]: draw.choice(HOSTILE)}
            case _:
                return value | {key: mutate_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        if draw.randrange(6) == 0:
            return value[:at] + value[at + 1 :]
        return [*value[:at], mutate_value(value[at], draw), *value[at + 1 :]]
    return draw.choice(HOSTILE)


def mutate_json(content: bytes, draw: random.Random) -> bytes:
    return json.dumps(mutate_value(json.loads(content), draw)).encode("utf-8", "surrogatepass")


def mutate_lines(content: bytes, draw: random.Random) -> bytes:
    """Damage one line of a journal, or leave one out, or write one twice."""
    lines = content.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    match draw.randrange(4):
        case 0:
            lines[at : at + 1] = []
        case 1:
            lines[at:at] = [lines[draw.randrange(len(lines))]]
        case _:
            lines[at] = mutate_json(lines[at], draw) + b"\n"
    return b"".join(lines)


def mutate_yaml(content: bytes, draw: random.Random) -> bytes:
    changed = mutate_value(yaml.safe_load(content), draw)
    return yaml.safe_dump(changed, allow_unicode=True).encode("utf-8", "replace")


def mutate_safetensors(content: bytes, draw: random.Random) -> bytes:
    """Damage the header, keeping its length right."""
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    if "__metadata__" in header and draw.randrange(2):
        inner = json.loads(header["__metadata__"]["json"])
        header["__metadata__"]["json"] = json.dumps(mutate_value(inner, draw))
    else:
        header = mutate_value(header, draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + n :]


def mutate_zip(content: bytes, draw: random.Random) -> bytes:
    """Damage one member, whose checksum is right again."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(list(members))
    match draw.randrange(5):
        case 0:
            members[str(draw.choice(HOSTILE))[:40].strip("\0") + ".npy"] = members.pop(name)
        case 1:
            del members[name]
        case 2:
            other = draw.choice(list(members))
            members[name] = members[other]
        case _:
            head, rest = members[name][:128], members[name][128:]
            members[name] = mutate_bytes(head, draw) + rest
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def mutate_table(content: bytes, draw: random.Random) -> bytes:
    """Give a column other values, another type or another name, or leave it or all rows out."""
    table = pq.ParquetFile(io.BytesIO(content)).read()
    at = draw.randrange(table.num_columns)
    name, values = table.column_names[at], table.column(at).to_pylist()
    match draw.randrange(7):
        case 0:
            table = table.drop_columns(name)
        case 1:
            table = table.slice(0, draw.randint(0, 1))
        case 2:
            names = table.column_names
            table = table.rename_columns([*names[:at], draw.choice(names), *names[at + 1 :]])
        case 3:
            table = table.set_column(at, name, pa.nulls(table.num_rows))
        case 4:
            hostile = draw.choice([each for each in HOSTILE if not isinstance(each, list | dict)])
            table = table.set_column(at, name, pa.array([str(hostile)] * table.num_rows))
        case 5:
            table = table.set_column(at, name, pa.array([draw.choice([0.5, -1, 1e300])] * table.num_rows))
        case _:
            row = draw.randrange(len(values) or 1)
            changed = [None if place == row else value for place, value in enumerate(values)]
            table = table.set_column(at, name, pa.array(changed, table.schema.field(at).type))
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


Mutation = Callable[[bytes, random.Random], bytes]
