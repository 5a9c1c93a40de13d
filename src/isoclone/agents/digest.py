"""Check a checkpoint's bytes against its digest, without loading torch: in milliseconds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from isoclone.base.errors import CheckpointError

DTYPES = {  # names of safetensors -> those of torch, which the digest is made of
    **{f"F{bits}": f"torch.float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"torch.int{bits}" for bits in (8, 16, 32, 64)},
    "BF16": "torch.bfloat16",
    "U8": "torch.uint8",
    "BOOL": "torch.bool",
}


def verified(path: Path) -> dict[str, Any]:
    """Return the metadata that `save_tensors` wrote, once every byte is held to the digest.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of ours.
    """
    try:
        data = path.read_bytes()
        length = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:length])
        about = json.loads(header.pop("__metadata__")["isoclone"])
        body = memoryview(data)[length:]
        digest = hashlib.sha256(json.dumps(about["metadata"], sort_keys=True).encode())
        size = 0
        for name, tensor in sorted(header.items()):
            begin, end = tensor["data_offsets"]
            digest.update(f"{name} {DTYPES[tensor['dtype']]} {tensor['shape']}".encode())
            digest.update(body[begin:end])
            size += end - begin
        if size != len(body) or digest.hexdigest() != about["sha256"]:
            raise ValueError("its contents are not what was written")
        return dict(about["metadata"])
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing") from error
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} is damaged or not an isoclone checkpoint ({why})") from error
